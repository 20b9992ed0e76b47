"""The times that the shortest way moves: when a phone asked its registrar last, and until when its contact stands.

What `Contacts.follow_request` and `Contacts.follow_answer` do with a refresh that changes nothing else, in the
engine's own rows; False where they are to be asked themselves. Cython compiles it (pure-Python mode).
"""

import cython
from cython.cimports.sipalg.codec.quick_names import expires_at
from cython.cimports.sipalg.codec.search import Marks
from cython.cimports.sipalg.engine.express_rows import ContactObject, HomeObject, Row
from cython.cimports.sipalg.engine.express_texts import Passing, line_at

from sipalg.engine.policy import LINGER_S, MAX_CONTACT_S

_LINGER_S = cython.declare(cython.double, LINGER_S)
_MAX_CONTACT_S = cython.declare(cython.long, MAX_CONTACT_S)
#: What a Contact without any lifetime gets (RFC 3261 §10.2).
_DEFAULT_EXPIRES_S = cython.declare(cython.long, 3600)
#: A contact's record follows its renewals when they have moved its end by this part of what it has left (`rows`).
_RENEWED = cython.declare(cython.double, 0.1)


@cython.cfunc
@cython.exceptval(check=False)
def asks(
    passing: cython.pointer(Passing),
    row: cython.pointer(Row),
    marks: cython.pointer(Marks),
    lifetime_s: cython.long,
) -> cython.bint:
    """Follow a REGISTER that takes nothing back, as `Contacts.follow_request` would."""
    home = cython.cast(cython.pointer(HomeObject), row.home)
    if lifetime_s < 0 and marks.expires:
        lifetime_s = expires_at(passing.text + marks.expires)
        if lifetime_s < 0:
            return False
    if lifetime_s == 0 or line_at(passing, marks) != row.line or home.asked_id != row.call_id:
        return False
    home.asked_at = passing.now
    return True


@cython.cfunc
@cython.exceptval(check=False)
def renews(
    passing: cython.pointer(Passing),
    row: cython.pointer(Row),
    marks: cython.pointer(Marks),
    lifetime_s: cython.long,
    timeout_s: cython.double,
) -> cython.bint:
    """Follow a 2xx to REGISTER that grants what it has granted before, as `Contacts.follow_answer` would."""
    home = cython.cast(cython.pointer(HomeObject), row.home)
    contact = cython.cast(cython.pointer(ContactObject), row.contact)
    now: cython.double = passing.now
    if lifetime_s < 0:
        lifetime_s = expires_at(passing.text + marks.expires) if marks.expires else _DEFAULT_EXPIRES_S
    if lifetime_s <= 0 or contact.granted_s != lifetime_s << 1:
        return False
    if line_at(passing, marks) != row.line or home.asked_id != row.call_id or home.asked_at < now - _LINGER_S:
        return False
    life_s: cython.double = min(_MAX_CONTACT_S, lifetime_s)
    until: cython.double = now + (max(timeout_s, life_s))
    if until < contact.wakes_at or contact.suspect_at < contact.wakes_at:
        return False
    passed_s: cython.double = until - contact.expires_at
    if contact.longest_s < passed_s <= lifetime_s:
        contact.longest_s = passed_s
    contact.expires_at = until
    return True


@cython.cfunc
@cython.exceptval(check=False)
def is_recorded(row: cython.pointer(Row), now: cython.double) -> cython.bint:
    """Whether a contact's record says nearly what it has become, as `Contact.is_news` does."""
    contact = cython.cast(cython.pointer(ContactObject), row.contact)
    return 0 <= contact.expires_at - contact.recorded < _RENEWED * (contact.expires_at - now)
