"""The phrasings of the template writer, as tables: several for each fact, one of which is drawn.

Words only; how they are put together is `align.reports.template`'s matter. Every phrasing passes the check of
`align.reports.check`, which a test makes sure of.
"""

from __future__ import annotations

from collections.abc import Mapping

from align.reports.values import NO, UNKNOWN, YES

Choices = tuple[str, ...]

RECORDED: Choices = (
    "{What} {were} recorded{where}{whom}{how}.",
    "This is a recording of {what}{whom}{taken}.",
    "The recording contains {what}{whom}{taken}.",
)
SOUNDS: Mapping[str, Choices] = {
    "heart": ("heart sounds", "heart sounds", "cardiac sounds"),
    "lung": ("lung sounds", "sounds of the lungs"),
    "lung breath": ("breath sounds of the lungs", "breath sounds over the lungs"),
    "airborne": ("an airborne sound",),
    "cough": ("coughing", "a cough"),
    "breath": ("breathing", "breath sounds"),
    "speech": ("speech", "a voice"),
    "vowel": ("a vowel",),
    "sneezing": ("sneezing", "a sneeze"),
    "snoring": ("snoring",),
    "laughing": ("laughter", "laughing"),
    "throat clearing": ("throat clearing",),
    "noise": ("noise",),
    "deep breathing": ("deep breathing", "deep breaths"),
    "shallow breathing": ("shallow breathing", "shallow breaths"),
    "heavy cough": ("a heavy cough", "heavy coughing"),
    "shallow cough": ("a shallow cough", "shallow coughing"),
    "vowel a": ('the vowel "a"',),
    "vowel e": ('the vowel "e"',),
    "vowel o": ('the vowel "o"',),
    "counting at a normal pace": ("counting at a normal pace", "a voice counting at a normal pace"),
    "counting at a fast pace": ("counting at a fast pace", "a voice counting at a fast pace"),
}
"""What was recorded, by modality, event or kind."""
ANY_SOUND = "sound"
NOTHING_KNOWN = "A sound was recorded."
NO_COUGH: Choices = (
    "No cough is heard in the recording.",
    "There is no cough in the recording.",
    "The recording does not contain a cough.",
)
OTHER_SOUND: Choices = ("The recorded sound is: {event}.", "The recording is labelled: {event}.")
NAMES = {
    "thinklabs one stethoscope": "Thinklabs One stethoscope",
    "akg c417l microphone": "AKG C417L microphone",
    "littmann classic ii se stethoscope": "Littmann Classic II SE stethoscope",
    "littmann 3200 stethoscope": "Littmann 3200 stethoscope",
    "meditron stethoscope": "Meditron stethoscope",
}
"""Proper names of devices."""
AGED: Choices = ("{years}-year-old {noun}", "{noun} aged {years} years")
ADULTS = {"female": "woman", "male": "man"}
MINORS = {"female": "girl", "male": "boy"}
BODIES: tuple[Mapping[str, str], ...] = (
    {"both": ", {height} cm tall and weighing {weight} kg", "height": ", {height} cm tall", "weight": ", {weight} kg"},
    {"both": " ({height} cm, {weight} kg)", "height": " ({height} cm tall)", "weight": " ({weight} kg)"},
    {
        "both": " with a height of {height} cm and a weight of {weight} kg",
        "height": " with a height of {height} cm",
        "weight": " with a weight of {weight} kg",
    },
)
NO_MURMUR: Choices = (
    "No murmur is heard.",
    "There is no murmur.",
    "No heart murmur is present.",
    "There is no audible murmur.",
    "No heart murmur is audible.",
)
MURMUR_UNKNOWN: Choices = (
    "Whether a murmur is present is unknown.",
    "The presence of a murmur could not be determined.",
    "It is unknown whether there is a murmur.",
)
MURMUR: Choices = (
    "{A_murmur} is heard{where}{here}.",
    "There is {a_murmur}{where}{here}.",
    "{A_murmur} is present{where}{here}.",
)
MURMUR_TOO: Choices = ("There is also {a_murmur}.", "{A_murmur} is also heard.")
HERE: Choices = (", and it is audible at this site", ", and it is heard at this site")
NOT_HERE: Choices = (", but it is not audible at this site", ", but it is not heard at this site")
SHAPES = {"plateau": "plateau-shaped", "diamond": "diamond-shaped"}
OUTCOME: Choices = (
    "The clinical outcome is {outcome}.",
    "The overall clinical assessment is {outcome}.",
    "Clinical outcome: {outcome}.",
)
DIAGNOSIS: Choices = ("The diagnosis is {diagnosis}.", "Diagnosis: {diagnosis}.")
RATE: Choices = (
    "The respiration rate is {respiration_bpm} breaths per minute.",
    "The respiratory rate is {respiration_bpm} per minute.",
    "There are {respiration_bpm} breaths per minute.",
)
LUNG_SOUNDS: Mapping[tuple[str, str], Choices] = {
    (YES, YES): ("Crackles and wheezes are heard.", "There are crackles and wheezes."),
    (NO, NO): ("No crackles or wheezes are heard.", "Crackles and wheezes are absent."),
    (YES, NO): ("Crackles are heard, but no wheezes.", "There are crackles without wheezes."),
    (NO, YES): ("Wheezes are heard, but no crackles.", "There are wheezes without crackles."),
    (YES, ""): ("Crackles are heard.", "There are crackles."),
    (NO, ""): ("No crackles are heard.", "Crackles are absent."),
    ("", YES): ("Wheezes are heard.", "There are wheezes."),
    ("", NO): ("No wheezes are heard.", "Wheezes are absent."),
}
STATUS: Mapping[tuple[str, str], Choices] = {
    ("covid19", YES): ("COVID-19 status: positive.", "The {noun} is positive for COVID-19."),
    ("covid19", NO): ("COVID-19 status: negative.", "The {noun} is negative for COVID-19."),
    ("covid19", UNKNOWN): ("The COVID-19 status is unknown.",),
    ("smoker", YES): ("The {noun} is a smoker.", "The {noun} smokes."),
    ("smoker", NO): ("The {noun} is a non-smoker.", "The {noun} does not smoke."),
    ("smoker", UNKNOWN): ("Whether the {noun} smokes is unknown.", "The smoking status is unknown."),
    ("crackles", UNKNOWN): ("Whether there are crackles is unknown.",),
    ("wheezes", UNKNOWN): ("Whether there are wheezes is unknown.",),
    ("murmur_here", UNKNOWN): ("Whether the murmur is audible at this site is unknown.",),
}
