"""Limits and reasons: how much one phone may hold, and the words for why a message passes as it came.

Every limit is a named constant with its reason, and every reason is counted under its name, so that `status` can say
what the ALG left alone. On a packet's way these are the answers that aren't edits.
"""

from __future__ import annotations

from typing import Final

#: How long a transaction can still be answered or repeated: 64 × T1 (RFC 3261 §17). What nobody holds ends after it.
LINGER_S: Final = 32.0
#: How long an INVITE may ring unanswered: a provisional answer comes at least every minute (RFC 3261 §13.3.1.1), a
#: proxy waits three (§16.6, timer C); queues with announcements take longer.
EARLY_S: Final = 600.0
#: How long a media mapping lives in the kernel if the process that cares for it dies: a long phone call.
MEDIA_LEASE_S: Final = 7200.0
#: Mappings of one inside host: a PBX with 500 calls has 1,000 RTP and RTCP ports.
MAX_MAPPINGS_PER_HOST: Final = 4096
#: Mappings in all: as many as there are public ports above 1023, of UDP and of TCP.
MAX_MAPPINGS: Final = 2 * 64512
#: Calls of one inside host: a large PBX.
MAX_DIALOGS_PER_HOST: Final = 4096
#: Dialogs and early dialogs with one Call-ID: an INVITE that rings everywhere in an office forks into dozens.
MAX_DIALOGS_PER_CALL: Final = 64
#: Dialogs and early dialogs in all.
MAX_DIALOGS: Final = 65536
#: Servers that one socket of a phone may speak to: a provider's addresses, several providers.
MAX_PEERS_PER_MAPPING: Final = 64
#: Lines (addresses of record at registrars) that one socket may register: a PBX's trunk with its numbers.
MAX_CONTACTS_PER_MAPPING: Final = 1024
#: Call-IDs of REGISTERs that the answers to one inside host are known by: a PBX's trunk with its numbers, four times.
MAX_REGISTERS_PER_HOST: Final = 4096
#: Outside media addresses that are known not to be inside hosts', and for how long: else the kernel is asked.
MAX_OUTSIDE_HOSTS: Final = 4096
OUTSIDE_HOSTS_S: Final = 10.0
#: How long a contact may be granted at the most, seconds: a week, so that no answer holds a mapping for years.
MAX_CONTACT_S: Final = 7 * 86400
#: Keep-alives in a row that are believed in: two OPTIONS may be chance.
KEEPALIVES_BELIEVED: Final = 3
#: The longest interval that is taken for one of keep-alives: who asks more seldom keeps nothing alive.
LONGEST_KEEPALIVE_S: Final = 7200.0
#: Phones whose keep-alives and session timers are remembered; beyond, the one not heard of for longest is forgotten.
MAX_PHONES_HEARD: Final = 8192
#: Sources that are remembered as NAT aware: a flood only makes the oldest be found out again.
MAX_NAT_AWARE: Final = 8192
#: Addresses by which servers see us, where they aren't what is written: a NAT ahead has one, seldom more.
MAX_SEEN_AS: Final = 16
#: In their place: the address is ours, and the port is another one.
ANOTHER_PORT: Final = b"another port"
#: Refused offers of direct media that are remembered until their ACK: a flood only makes the oldest be forgotten.
MAX_REFUSALS: Final = 4096
#: Addresses that the outside may name for one call's media before it stands: a dozen forks and media servers.
MAX_SOURCES: Final = 16
#: Lines of a message's header: a hundred proxies, each with a Via and a Record-Route, and what ends write.
MAX_HEADER_LINES: Final = 512
#: Addresses of ours in one message's header, each of which may need a port: a phone has a handful, a PBX's list more.
MAX_ADDRESSES: Final = 64
#: Length of Call-ID and tags together, and of an address of record, bytes: they are kept for as long as a call or a
#: contact stands, and what devices write is shorter than a line.
MAX_NAME_BYTES: Final = 1024
#: REGISTERs that take contacts back and wait for their answers, 32 s each: a whole office that is switched off.
MAX_REMOVALS: Final = 16384
#: m= lines that are looked at: more is no call (audio, video, slides, text, fax, data and their refused remains).
MAX_MEDIA_SECTIONS: Final = 32
#: Candidates that are looked at: a phone has two for each line, RTP's and RTCP's.
MAX_CANDIDATES: Final = 2 * MAX_MEDIA_SECTIONS
#: Ports behind a slash in m= (RFC 8866 §5.14): hierarchical encodings have a handful.
MAX_PORTS_PER_SECTION: Final = 8

#: The methods that are counted by name (IANA's registry); a made-up one is "other".
_METHODS: Final = (
    b"INVITE ACK BYE CANCEL OPTIONS REGISTER PRACK SUBSCRIBE NOTIFY PUBLISH INFO REFER MESSAGE UPDATE".split()
)
#: What a message is counted as, by its method or status.
COUNTED: Final[dict[bytes | int, bytes]] = {method: method for method in _METHODS} | {
    status: b"%d" % status for status in range(100, 700)
}

# Why a message passed as it came.
NOTHING_TO_EDIT: Final = "nothing-to-edit"
EXEMPT: Final = "except"
NO_PUBLIC_ADDRESS: Final = "no-public-address"
NO_MAPPING: Final = "no-mapping"
NO_FREE_PORT: Final = "no-free-port"
NAT_AWARE: Final = "nat-aware"
NOT_NATTED: Final = "not-natted"
PRIVILEGED_PORT: Final = "source-port-privileged"
STREAM: Final = "stream-transport"
TOO_MANY_LINES: Final = "too-many-header-lines"
TOO_MANY_ADDRESSES: Final = "too-many-addresses"
ADDRESS_WITH_ZONE: Final = "address-with-zone"
NAME_TOO_LONG: Final = "name-too-long"
TOO_MANY_MAPPINGS: Final = "too-many-mappings"
FIELD_TWICE: Final = "field-twice"
EMPTY_PARAMETER: Final = "empty-parameter"
DISABLED: Final = "disabled"
SDP_ADDRESS_FOREIGN: Final = "sdp-address-foreign"
SDP_NO_CONNECTION: Final = "sdp-without-connection"
SDP_PORT_PRIVILEGED: Final = "sdp-port-privileged"
SDP_TOO_MANY_SECTIONS: Final = "sdp-too-many-sections"
SDP_OF_ANOTHER: Final = "sdp-of-another-host"

# Why a message was dropped: only where `sip-direct-media=no` asks for it.
DIRECT_MEDIA_REFUSED: Final = "direct-media-refused"
REFUSAL_ACKNOWLEDGED: Final = "direct-media-refusal-acknowledged"
#: Not the message's fate, but what it asked for: media from an address that came too late, without flow.
MEDIA_ADDRESS_REFUSED: Final = "media-address-refused"


def patience_s(sip_timeout_s: float) -> float:
    """How long a person isn't told that sip-timeout is too short: keep-alives may show that it isn't, seconds.

    Three that are sent before sip-timeout is over have come by then; where it is long, two minutes are enough for the
    intervals that devices come with.
    """
    return min(KEEPALIVES_BELIEVED * sip_timeout_s, 120.0)
