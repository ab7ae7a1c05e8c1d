# Two commands: `make demo` shows the daemon at work, `make test` runs every test. Both install what they need into .venv.

PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
PIP := $(RUN) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
AUDIO ?=

.PHONY: demo test check format constraints clean system

demo: $(VENV)/.demo
	$(RUN) -m edge.demo $(if $(AUDIO),--audio "$(AUDIO)")

# Side by side first. What failed there is run once more, alone: these tests start brokers, sound servers and trainings,
# and on a small machine they starve each other. What fails twice fails, and so does a run that did not come to its end.
test: $(VENV)/.test
	$(RUN) -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile; status=$$?; [ $$status -eq 0 ] || \
		{ [ $$status -eq 1 ] && $(RUN) -m pytest --last-failed --last-failed-no-failures none; }

system:
	sh tests/system_packages.sh

check: $(VENV)/.test
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

format: $(VENV)/.test
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

# Resolve the newest versions that fit pyproject.toml on every supported Python; needs the package uv.
constraints:
	uv pip compile pyproject.toml --all-extras --universal --python-version 3.10 --upgrade \
		--no-annotate --no-header --no-emit-index-url --no-emit-find-links --output-file constraints.txt

clean:
	rm -rf $(VENV) build *.egg-info

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "on Debian: apt install python3-venv" >&2; exit 1; }

$(VENV)/.demo: $(VENV)/bin/python pyproject.toml constraints.txt
	$(PIP) --editable '.[demo]'
	touch $@

$(VENV)/.test: $(VENV)/bin/python pyproject.toml constraints.txt | system
	$(PIP) --editable '.[test]'
	touch $@ $(VENV)/.demo
