"""The language teacher: a frozen text model, and what it makes of reports, computed once and kept on disk."""

from align.teacher.embedding import embed
from align.teacher.errors import TeacherError
from align.teacher.reports import embed_reports
from align.teacher.spec import TeacherSpec

__all__ = ["TeacherError", "TeacherSpec", "embed", "embed_reports"]
