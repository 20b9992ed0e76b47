"""Which parts of a message are well formed, strictly by the grammar: what a receiver that isn't lenient would read.

The codec reads what phones write; this asks more, since one stray character that the codec skips is what a poor ALG
adds, and what a server answers with 400. Only fields that every receiver has to read are looked at. On a packet's way
this looks at its two ends. Pure. Sources: RFC 3261 §25.1, RFC 8866 §9.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Final

from sipalg.analysis.said import Field, Said

_TOKEN: Final = rb"[!#-'*+.0-9A-Z_`a-z~^|%-]+"
_QUOTED: Final = rb'"(?:[^"\\]|\\.)*+"'
_HOST: Final = rb"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9_.])?)"
_HOST_PORT: Final = _HOST + rb"(?:\s*:\s*[0-9]{1,5})?"
#: Parameters behind a field's value. Nothing is given back: a text of thousands of them takes its length in time.
_PARAMETERS: Final = rb"(?:\s*+;\s*+" + _TOKEN + rb"+(?:\s*+=\s*+(?:" + _QUOTED + rb"|[^\s;,<>\"]++))?+)*+"
_URI: Final = (
    rb"(?:(?i:sips?):(?:[^@<>\s\"]+@)?" + _HOST + rb"(?::[0-9]{1,5})?(?:;[^\s;?<>\",]+)*(?:\?[^\s<>\"]+)?"
    rb"|(?!(?i:sips?):)[A-Za-z][A-Za-z0-9+.-]*:[^\s<>\"]+)"
)
_BARE_URI: Final = rb"[A-Za-z][A-Za-z0-9+.-]*:[^\s<>\",;?]+"
_NAME_SHOWN: Final = rb"(?:" + _QUOTED + rb"|" + _TOKEN + rb"+(?:\s++" + _TOKEN + rb"+)*+)?\s*+"
_ADDRESS: Final = rb"(?:" + _NAME_SHOWN + rb"<" + _URI + rb">|" + _BARE_URI + rb")" + _PARAMETERS
_ADDRESSES: Final = _ADDRESS + rb"(?:\s*,\s*" + _ADDRESS + rb")*"
_ONE_VIA: Final = rb"(?i:SIP)\s*/\s*2\.0\s*/\s*[A-Za-z0-9-]+\s+" + _HOST_PORT + _PARAMETERS
_NUMBER: Final = rb"[0-9]+"

#: Whole values by field name; blanks around them are left off first.
_VALUES: Final = {
    key: re.compile(pattern, re.DOTALL)
    for key, pattern in {
        "via": _ONE_VIA + rb"(?:\s*,\s*" + _ONE_VIA + rb")*",
        "contact": rb"\*|" + _ADDRESSES,
        "from": _ADDRESS,
        "to": _ADDRESS,
        "route": _ADDRESSES,
        "record-route": _ADDRESSES,
        "path": _ADDRESSES,
        "service-route": _ADDRESSES,
        "refer-to": _ADDRESS,
        "referred-by": _ADDRESS,
        "call-id": rb"[^\s@,;]+(?:@[^\s@,;]+)?",
        "cseq": rb"[0-9]{1,10}\s+" + _TOKEN,
        "max-forwards": _NUMBER,
        "content-length": _NUMBER,
        "expires": _NUMBER,
        "content-type": _TOKEN + rb"\s*/\s*" + _TOKEN + _PARAMETERS,
    }.items()
}
_NAME: Final = re.compile(_TOKEN)
_START: Final = re.compile(rb"SIP/2\.0 [1-6][0-9]{2}(?: .*)?|" + _TOKEN + rb" " + _URI + rb" SIP/2\.0")
_SDP_LINE: Final = re.compile(
    rb"(?:v=0|o=\S+ [0-9]+ [0-9]+ IN IP[46] \S+|c=IN IP[46] [^\s;,]+|m=\S+ [0-9]{1,5}(?:/[0-9]+)? \S+(?: \S+)+"
    rb"|(?![vocm]=)[a-z]=.*)"
)


def broken_in(given: Said, made: Said) -> list[str]:
    """Return what is well formed in what the device was given, and isn't in what it made: names and texts, as read."""
    known = Counter(name for name, _ in _malformed(given))
    found = []
    for name, text in _malformed(made):
        if known[name]:
            known[name] -= 1
        else:
            found.append(f"{name}: {text.decode('utf-8', 'backslashreplace').strip()}")
    return found


def _malformed(said: Said) -> list[tuple[str, bytes]]:
    wrong = [] if _START.fullmatch(said.start) else [("start line", said.start)]
    fields = [field for field in said.fields if not _is_right(field)]
    wrong += [(_name_of(field), field.value if field.key else field.name) for field in fields]
    if b"application/sdp" in b"".join(said.values("content-type")).lower() and said.body:
        lines = [line.rstrip(b"\r \t") for line in said.body.rstrip(b"\r\n").split(b"\n")]
        wrong += [("SDP", line) for line in lines if not _SDP_LINE.fullmatch(line)]
    return wrong


def _is_right(field: Field) -> bool:
    if not field.key or not _NAME.fullmatch(field.name.rstrip(b" \t")):
        return False
    pattern = _VALUES.get(field.key)
    return pattern is None or pattern.fullmatch(field.value.strip()) is not None


def _name_of(field: Field) -> str:
    """Return the field's name for people, `header line` for one that has none."""
    name = field.name.strip()
    return name.decode() if field.key and _NAME.fullmatch(name) else "header line"
