"""Where the public corpora come from and what their licences ask to be said. Knows no recording."""

from __future__ import annotations

SOURCES = {
    "circor": (
        "CirCor DigiScope Phonocardiogram Dataset by J. Oliveira and others, "
        "https://physionet.org/content/circor-heart-sound/1.0.3/"
    ),
    "coughseg": "COUGHVID recordings with cough times by R. Sharan, https://github.com/roneelsharan/CoughSegmentation",
    "coswara": "Coswara, Indian Institute of Science, https://github.com/iiscleap/Coswara-Data",
    "covid19-cough": "https://github.com/covid19-cough/dataset",
    "esc10": "ESC-10 by K. J. Piczak, clips from freesound.org, https://github.com/karolpiczak/ESC-50",
    "esc50-f4": "ESC-50 by K. J. Piczak, clips from freesound.org, https://github.com/karolpiczak/ESC-50",
    "fsdd": "Free Spoken Digit Dataset by Z. Jackson, https://github.com/Jakobovski/free-spoken-digit-dataset",
    "speech-commands": "Speech Commands v0.02 by P. Warden, https://arxiv.org/abs/1804.03209",
}

NOTES = {
    "esc10": (
        "ESC-10: the compilation is CC-BY-3.0; the clips used are CC0 or CC-BY. Their authors on freesound.org are "
        "named clip by clip in the LICENSE file of https://github.com/karolpiczak/ESC-50."
    ),
    "esc50-f4": (
        "ESC-50: the compilation is CC-BY-NC-3.0; only its clips that are themselves CC0 or CC-BY were used. Their "
        "authors on freesound.org are named clip by clip in the LICENSE file of https://github.com/karolpiczak/ESC-50."
    ),
    "fsdd": "Free Spoken Digit Dataset: CC-BY-SA-4.0; no recording of it is in this bundle.",
}


def source_of(corpus: str) -> str:
    """Origin and attribution of a public corpus; of any other, that it is the user's own."""
    return SOURCES.get(corpus, "a table of recordings of one's own")
