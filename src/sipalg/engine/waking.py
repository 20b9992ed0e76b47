"""Who is woken by a timer: a mapping, a contact, a dialog, or what its subject's first word names.

Beside a packet's way: `Alg.handle_timer` comes here with each subject whose time has come. A timer is never taken
back, so whoever is woken looks first whether there is something to do.
"""

from __future__ import annotations

from sipalg.engine.dialogs import Dialog
from sipalg.engine.passage import Passage
from sipalg.engine.rows import Contact, Entry
from sipalg.engine.timers import Subject, Timed


def look_after(passage: Passage, subject: Subject) -> None:
    """Handle a timer that is due, within the transaction that is open."""
    transaction = passage.transaction
    if not isinstance(subject, tuple):
        _look_after_row(passage, subject)
    elif subject[0] == "peers":
        passage.peers.look_after(transaction, subject[1])
    elif subject[0] == "refusal":
        passage.direct.forget(transaction, subject[1])
    elif subject[0] == "lifetime":
        passage.lifetimes.look_after(transaction, subject[1], subject[2])
    else:
        passage.contacts.forget_removal(transaction, subject[1])


def _look_after_row(passage: Passage, row: Timed) -> None:
    """Handle a mapping's timer, a contact's or a dialog's, and what hangs on it."""
    transaction = passage.transaction
    if isinstance(row, Dialog):
        passage.calls.look_after(transaction, row)
    if isinstance(row, Contact) and passage.contacts.look_after(transaction, row):
        passage.lifetimes.look_after(transaction, row.entry.key, row.line[2])
    if not isinstance(row, Entry):
        return
    outcome = passage.mappings.look_after(transaction, row)
    if outcome == "refreshed":
        passage.peers.renew(transaction, row)
    elif outcome == "ended":
        passage.forget(row)
