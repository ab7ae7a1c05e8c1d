"""Small recordings and spreadsheets for tests, written where a corpus would have them."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np
import soundfile
import xlwt

OFFICE = "http://schemas.openxmlformats.org"


def write_sound(path: Path, seconds: float = 0.1, rate_hz: int = 4000) -> Path:
    """A tone of 200 Hz, mono, 16 bits."""
    path.parent.mkdir(parents=True, exist_ok=True)
    time = np.arange(round(seconds * rate_hz)) / rate_hz
    soundfile.write(path, 0.5 * np.sin(2 * np.pi * 200 * time), rate_hz, subtype="PCM_16", format="WAV")
    return path


def write_text(path: Path, *lines: str) -> Path:
    """Lines of UTF-8."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def write_xls(path: Path, cells: dict[tuple[int, int], str | float]) -> Path:
    """A sheet of Excel 97, cells by (row, column) from 0."""
    path.parent.mkdir(parents=True, exist_ok=True)
    book = xlwt.Workbook()
    sheet = book.add_sheet("Sheet1")
    for (row, column), value in cells.items():
        sheet.write(row, column, value)
    book.save(str(path))
    return path


def write_xlsx(path: Path, rows: Sequence[Sequence[str]]) -> Path:
    """A sheet of Excel 2007 with texts only, the least that its readers take."""
    texts = [[f"<c t='inlineStr'><is><t>{escape(cell)}</t></is></c>" for cell in row] for row in rows]
    lines = "".join(f"<row>{''.join(row)}</row>" for row in texts)
    parts = {
        "[Content_Types].xml": (
            f"<Types xmlns='{OFFICE}/package/2006/content-types'>"
            "<Default Extension='xml' ContentType='application/xml'/></Types>"
        ),
        "_rels/.rels": _relation("officeDocument", "xl/workbook.xml"),
        "xl/workbook.xml": (
            f"<workbook xmlns='{OFFICE}/spreadsheetml/2006/main' xmlns:r='{OFFICE}/officeDocument/2006/relationships'>"
            "<sheets><sheet name='S' sheetId='1' r:id='rId1'/></sheets></workbook>"
        ),
        "xl/_rels/workbook.xml.rels": _relation("worksheet", "worksheets/sheet1.xml"),
        "xl/worksheets/sheet1.xml": (
            f"<worksheet xmlns='{OFFICE}/spreadsheetml/2006/main'><sheetData>{lines}</sheetData></worksheet>"
        ),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as book:
        for name, content in parts.items():
            book.writestr(name, content)
    return path


def _relation(kind: str, target: str) -> str:
    return (
        f"<Relationships xmlns='{OFFICE}/package/2006/relationships'>"
        f"<Relationship Id='rId1' Type='{OFFICE}/officeDocument/2006/relationships/{kind}' Target='{target}'/>"
        "</Relationships>"
    )
