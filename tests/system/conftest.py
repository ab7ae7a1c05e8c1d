"""The bundle and the sounds of the device's own tests, for tests of whole programs."""

from tests.edge.conftest import sounds, tiny_bundle_path

__all__ = ["sounds", "tiny_bundle_path"]
