#!/bin/sh
# Builds the TensorRT engine of the bundle that this file lies in, on the board that will run it, with what JetPack
# brings: sh, trtexec and coreutils. No Python. Usage: sh build_engine.sh [--engines FOLDER]
#
# Builds INT8 and float16, times both, checks golden outputs, and keeps the faster of those that pass, with engine.json
# beside it, which binds the engine to the graph, TensorRT, GPU and JetPack. An older engine stays until then.
# Exit status: 0 done; 1 a build or a check failed; 2 not for this machine, or something is missing.
#
# The table of flags is that of edge/engines/plan.py. Not yet run on hardware.

set -eu
# Numbers with points, whatever the board's language.
export LC_ALL=C

say() { printf '%s\n' "$*"; }
refuse() { printf 'error: %s\n' "$*" >&2; exit 2; }
fail() { printf 'error: %s\n' "$*" >&2; exit 1; }

# Where the board's file system begins; only tests say something else.
root=${ACULA_ROOT:-}
engines=
while [ $# -gt 0 ]; do
    case $1 in
        --engines) [ $# -ge 2 ] || refuse "--engines needs a folder"; engines=$2; shift 2 ;;
        --help | -h) sed -n '2,9s/^# \{0,1\}//p' "$0"; exit 0 ;;
        *) refuse "$1 is not known; usage: sh build_engine.sh [--engines FOLDER]" ;;
    esac
done

# The machine -------------------------------------------------------------------------------------------------------

machine=$(uname -m)
[ "$machine" = aarch64 ] || refuse "this machine is $machine: an engine is built on the Jetson board that runs it"

trtexec=$(command -v trtexec || true)
[ -n "$trtexec" ] || trtexec=$root/usr/src/tensorrt/bin/trtexec
[ -x "$trtexec" ] || refuse "trtexec is not installed: apt install nvidia-jetpack, or libnvinfer-bin"

# The first line of every run names the version as one number: v8502 is 8.5.2, v100300 is 10.3.0.
number=$("$trtexec" --help 2>&1 | sed -n 's/.*\[TensorRT v\([0-9]*\)\].*/\1/p' | sed -n 1p || true)
[ -n "$number" ] || refuse "$trtexec does not say its version; is it TensorRT's?"
if [ "$number" -ge 10000 ]; then
    major=$((number / 10000)) minor=$((number / 100 % 100))
else
    major=$((number / 1000)) minor=$((number / 100 % 10))
fi
tensorrt=$major.$minor.$((number % 100))
at_least() { [ "$major" -gt "$1" ] || { [ "$major" -eq "$1" ] && [ "$minor" -ge "$2" ]; }; }

model=$(tr -d '\000' 2>/dev/null < "$root/proc/device-tree/model" | sed 's/["\\]//g' || true)
l4t=$(sed -n 's/^# R\([0-9]*\) (release), REVISION: \([0-9.]*\).*/\1.\2/p' "$root/etc/nv_tegra_release" 2>/dev/null || true)
power=$(nvpmodel -q 2>/dev/null | sed -n 's/.*NV Power Mode: *\([^ ]*\).*/\1/p' || true)
case $model in
    *Thor*) sm=11.0 ;;
    *Orin*) sm=8.7 ;;
    *Xavier*) sm=7.2 ;;
    *TX2*) sm=6.2 ;;
    *Nano* | *TX1*) sm=5.3 ;;
    *) sm= ;;
esac
say "board: ${model:-unknown}, L4T ${l4t:-unknown}, power mode ${power:-unknown}, TensorRT $tensorrt"

case $sm in
    5.3 | 6.2) refuse "this GPU has no INT8 (Nano, TX2): ONNX Runtime runs the bundle here, without an engine" ;;
esac
at_least 8 5 || refuse "TensorRT $tensorrt: older than 8.5, which reads these graphs; ONNX Runtime runs the bundle here"
[ "$tensorrt" != 10.2.0 ] || refuse "TensorRT 10.2.0 is known to fail on INT8 graphs; update JetPack"
if [ "$sm" = 11.0 ] && ! at_least 10 15; then
    refuse "TensorRT $tensorrt: before 10.15 gives wrong results on Thor (ultralytics#22873); update JetPack to 7.2"
fi

# What is built, and how --------------------------------------------------------------------------------------------

graph_of() {
    if [ "$1" = fp16 ]; then say encoder.fp16.onnx
    elif at_least 10 12; then say encoder.int8_fp16.onnx
    else say encoder.int8.onnx
    fi
}
# TensorRT 11 takes the numbers from the graph and knows no flag; 10.12 is told to; before, flags allow what may be used.
precision_flags() {
    if [ "$major" -ge 11 ]; then :
    elif at_least 10 12; then say --stronglyTyped
    elif [ "$1" = int8 ]; then say "--int8 --fp16"
    else say --fp16
    fi
}
if at_least 8 6; then build_only=--skipInference; else build_only=--buildOnly; fi
# From 11 on these are what it does unasked, and naming them warns.
if [ "$major" -ge 11 ]; then bench_flags='' golden_flags=--includeDataTransfers
else bench_flags='--useCudaGraph --useSpinWait --noDataTransfers' golden_flags=''
fi

# From here on in the bundle's folder: trtexec splits paths at commas and colons, and so sees none of its name.
here=$(pwd)
cd -- "$(dirname -- "$0")"
bundle=$(pwd)
hash_of() { sha256sum "$1" | cut -d ' ' -f 1; }
for name in manifest.json golden.input.bin golden.int8.txt golden.fp16.txt "$(graph_of int8)" "$(graph_of fp16)"; do
    [ -r "$name" ] || refuse "$bundle/$name is missing: export the bundle again with --target jetson"
    [ "$name" = manifest.json ] || grep -q "\"$name\": \"$(hash_of "$name")\"" manifest.json ||
        refuse "$bundle/$name is not what manifest.json lists: copy the bundle again"
done
tolerance_of() { sed -n "/\"tensorrt_tolerance\"/,/}/s/.*\"$1\": *\([0-9.e-]*\).*/\1/p" manifest.json; }
[ -n "$(tolerance_of fp16)" ] || refuse "$bundle/manifest.json names no tensorrt_tolerance: export with --target jetson"

if [ -z "$engines" ]; then
    if [ -n "${STATE_DIRECTORY:-}" ]; then engines=${STATE_DIRECTORY%%:*}/engines
    elif [ "$(id -u)" -eq 0 ]; then engines=/var/lib/acula-edge/engines
    else engines=${XDG_STATE_HOME:-$HOME/.local/state}/acula-edge/engines
    fi
fi
case $engines in
    /*) ;;
    *) engines=$here/$engines ;;
esac
mkdir -p "$engines" || refuse "$engines cannot be made; name another folder with --engines"
folder=$engines/$(hash_of encoder.int8.onnx | cut -c 1-16)
work=$(mktemp -d "$engines/.build-XXXXXX") || refuse "$engines cannot be written; name another folder with --engines"
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

# Building, timing, checking ----------------------------------------------------------------------------------------

# run NAME ARGUMENTS...: trtexec with its output in NAME.log; tells its own words when it fails.
run() {
    log=$work/$1.log
    shift
    "$trtexec" "$@" < /dev/null > "$log" 2>&1 || {
        grep -F '[E]' "$log" | tail -n 3 >&2 || true
        return 1
    }
}

for precision in int8 fp16; do
    [ -n "$(tolerance_of "$precision")" ] || continue  # this bundle's INT8 was not accurate enough
    graph=$(graph_of "$precision")
    say "building $precision of $graph, which takes minutes"
    # shellcheck disable=SC2046 # one word a flag
    run "$precision" "--onnx=$graph" $(precision_flags "$precision") "--saveEngine=$work/$precision.engine" \
        "--timingCacheFile=$engines/timing.$tensorrt.cache" $build_only --profilingVerbosity=detailed \
        "--exportLayerInfo=$work/$precision.layers.json" --memPoolSize=workspace:512 ||
        fail "trtexec could not build $graph; no engine was written"
    [ -s "$work/$precision.engine" ] || fail "trtexec wrote no engine of $graph"
    # shellcheck disable=SC2086 # one word a flag
    run "$precision.time" "--loadEngine=$work/$precision.engine" $bench_flags --warmUp=500 --duration=10 \
        --percentile=95,99 || fail "trtexec could not run the $precision engine; no engine was written"
    median=$(sed -n 's/.*GPU Compute Time: .*median = \([0-9.]*\) ms.*/\1/p' "$work/$precision.time.log" | sed -n 1p)
    [ -n "$median" ] || fail "trtexec did not say how fast the $precision engine is; no engine was written"
    say "  $median ms a window"
    say "$median $precision" >> "$work/times"
done
found=$(sed -n 's/.*Compute Capability: *\([0-9.]*\).*/\1/p' "$work/fp16.log" | sed -n 1p)
sm=${found:-$sm}
[ -n "$sm" ] || fail "neither the board nor trtexec says the GPU's compute capability; no engine was written"

# golden PRECISION: outputs within the tolerance of what ONNX Runtime made of the same graph; the distance is that of
# edge/engines/distance.py: norm of the difference over norm of the golden values.
golden() {
    # shellcheck disable=SC2086 # one word a flag
    run "$1.golden" "--loadEngine=$work/$1.engine" --loadInputs=log_mel:golden.input.bin $golden_flags \
        "--exportOutput=$work/$1.json" --iterations=1 --warmUp=0 --duration=0 || return 1
    tr -d '[]{}":' < "$work/$1.json" | tr ',' '\n' | awk -v tolerance="$(tolerance_of "$1")" '
        FNR == NR { expected[$1, $2] = $3; count[$1]++; power[$1] += $3 * $3; next }
        $1 == "name" { name = $2; place = 0; next }
        $1 == "dimensions" { next }
        { for (field = $1 == "values" ? 2 : 1; field <= NF; field++) {
            if ($field !~ /^-?[0-9.]+(e[-+]?[0-9]+)?$/) { bad = name " is " $field; exit }
            error = $field - expected[name, place++]
            noise[name] += error * error
        }
        seen[name] = place }
        END {
            for (name in count) {
                if (bad != "") continue
                if (seen[name] != count[name]) bad = name " has " (seen[name] + 0) " values, not " count[name]
                else if ((found = sqrt(noise[name] / (power[name] + 1e-18))) > tolerance)
                    bad = name " is " found " of its size away, allowed is " tolerance
            }
            if (bad != "") { print bad; exit 1 }
        }' "golden.$1.txt" -
}

chosen=
sort -n "$work/times" > "$work/sorted"
while read -r _ precision; do
    if why=$(golden "$precision"); then chosen=$precision; break; fi
    say "the $precision engine gives other outputs than the golden ones: ${why:-trtexec could not run it}"
done < "$work/sorted"
[ -n "$chosen" ] || fail "no engine gives the golden outputs; ONNX Runtime runs the bundle here"

# In place, in one step ---------------------------------------------------------------------------------------------

mkdir "$work/new"
mv "$work/$chosen.engine" "$work/new/encoder.engine"
mv "$work/$chosen.layers.json" "$work/new/layers.json" 2>/dev/null || true
graph=$(graph_of "$chosen")
times=$(awk '{ printf "%s\"%s\": %s", (NR > 1 ? ", " : ""), $2, $1 }' "$work/times")
cat > "$work/new/engine.json" << EOF
{
  "engine_sha256": "$(hash_of "$work/new/encoder.engine")",
  "precision": "$chosen",
  "graph": "$graph",
  "graph_sha256": "$(hash_of "$graph")",
  "tensorrt": "$tensorrt",
  "sm": "$sm",
  "l4t": "$l4t",
  "model": "$model",
  "power_mode": "$power",
  "median_ms": {$times},
  "builder": "trtexec"
}
EOF
chmod -R u=rwX,go=rX "$work/new"
sync "$work/new/encoder.engine" "$work/new/engine.json"
if [ -e "$folder" ]; then mv "$folder" "$work/old"; fi
mv "$work/new" "$folder"
say "kept $chosen, the faster of those that pass, in $folder"
