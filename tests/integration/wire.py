"""A peer of the broker that speaks frames, written from docs/protocol.md alone.

It takes no part in any decision: tests say which frame goes out and which one they expect. PING is answered while
reading, everything else that was not asked for waits in `unread`. One thread a peer. Next file: broker.py.
"""

import json
import select
import socket
import struct
import time
from collections import namedtuple
from urllib.parse import urlsplit

MAGIC = b"BATN"
HEADER = struct.Struct("<IBBHQ")
BATCH = struct.Struct("<IHHQqII")
SETTLE_RANGE = struct.Struct("<QIIBBHI")

(HELLO, WELCOME, ATTACH, ATTACHED, DETACH, DETACHED, PUBLISH, CONFIRM, DELIVER, SETTLE, SETTLED, CREDIT, FRAGMENT,
 GRANT, STATE, PING, PONG, GOAWAY, ERROR, ADMIN, ADMIN_REPLY, STEP, STEPPED) = range(1, 24)
NAMES = ("HELLO WELCOME ATTACH ATTACHED DETACH DETACHED PUBLISH CONFIRM DELIVER SETTLE SETTLED CREDIT FRAGMENT GRANT "
         "STATE PING PONG GOAWAY ERROR ADMIN ADMIN_REPLY STEP STEPPED").split()
OPTIONAL = 0x80
FIRST, LAST = 1, 2
NOTE = 1
BACK_OFF = 0xFFFFFFFF
SENDER, RECEIVER = 1, 2
DONE, GIVE_BACK, RETRY, REJECT, EXTEND, STARTED = range(1, 7)
REASONS = ("none empty no_message_credit no_byte_credit slow_reader full memory draining no_receiver receivers_busy "
           "in_flight loading committing disk_full storage_failed damaged delayed key_busy standby").split()
STATUSES = ("ok protocol_violation unsupported_version frame_too_large unknown_frame bad_frame not_authorised "
            "handshake_timeout heartbeat_timeout too_many_connections too_many_links too_many_channels bad_name "
            "link_in_use not_found incompatible_options unsupported sequence_gap superseded message_too_large bad_batch "
            "over_credit lost_lease unsupported_outcome channel_deleted draining too_many_producers bad_request "
            "internal disk_full storage_failed channel_damaged full in_use slow_subscriber").split()
SEVERITIES = {1: "message", 2: "link", 3: "connection"}
WINDOW = (1 << 40, 1 << 40)

Message = namedtuple("Message", "offset attempt redelivered body properties")
State = namedtuple("State", "reason waiting_us ready in_flight delayed")
Fault = namedtuple("Fault", "status severity retryable text link sequence")


class Closed(Exception):
    """The broker has closed the connection."""


class Refused(Exception):
    """An ERROR came instead of the expected frame."""

    def __init__(self, fault):
        super().__init__(f"{fault.status} ({fault.severity}, link {fault.link}): {fault.text}")
        self.fault = fault


class Frame(namedtuple("Frame", "kind flags link sequence body")):
    def __repr__(self):
        name = NAMES[self.kind - 1] if 0 < self.kind <= len(NAMES) else f"type {self.kind}"
        return f"<{name} link={self.link} seq={self.sequence} {len(self.body)} bytes {self.body[:64]!r}>"

    def json(self):
        return json.loads(self.body)

    def fault(self):
        status, severity, retryable, size = struct.unpack_from("<IBBH", self.body)
        assert len(self.body) == 8 + size, "ERROR: the text size is wrong"
        return Fault(STATUSES[status], SEVERITIES[severity], bool(retryable), self.body[8:].decode(), self.link,
                     self.sequence)

    def state(self):
        reason, _, delayed, waiting, ready, in_flight = struct.unpack("<HHIQQQ", self.body)
        return State(REASONS[reason], waiting, ready, in_flight, delayed)

    def credit(self):
        return struct.unpack("<QQ", self.body)

    def level(self):
        """Of CONFIRM: 1 received, 2 durable."""
        return self.body[0]

    def exceptions(self):
        """Of CONFIRM: (first, count, status). Of SETTLED: (first, count, attempt, status)."""
        if self.kind == CONFIRM:
            level, _, _, count = struct.unpack_from("<BBHI", self.body)
            assert level in (1, 2), "received or durable"
            rows = [struct.unpack_from("<QII", self.body, 8 + 16 * i) for i in range(count)]
            assert len(self.body) == 8 + 16 * count
        else:
            count, _ = struct.unpack_from("<II", self.body)
            rows = [struct.unpack_from("<QIIII", self.body, 8 + 24 * i)[:4] for i in range(count)]
            assert len(self.body) == 8 + 24 * count
        return [(*row[:-1], STATUSES[row[-1]]) for row in rows]

    def messages(self):
        return messages_of(self.body)


def messages_of(deliver_body):
    attempt, redelivered = struct.unpack_from("<II", deliver_body)
    count, flags, zero, offset, time_us, _, size = BATCH.unpack_from(deliver_body, 8)
    assert zero == 0 and time_us > 0 and len(deliver_body) == 8 + BATCH.size + size
    messages, at = [], 8 + BATCH.size
    for index in range(count):
        (length,) = struct.unpack_from("<I", deliver_body, at)
        at += 4
        piece, properties = deliver_body[at:at + length], b""
        at += length
        if flags & 1:
            (properties_size,) = struct.unpack_from("<H", piece)
            properties, piece = piece[2:2 + properties_size], piece[2 + properties_size:]
        messages.append(Message(offset + index, attempt, bool(redelivered & 1), piece, properties))
    assert at == len(deliver_body), "DELIVER: the lengths do not add up"
    return messages


def encode_batch(bodies, properties=None):
    if properties is None:
        region = b"".join(struct.pack("<I", len(body)) + body for body in bodies)
    else:
        region = b"".join(struct.pack("<IH", 2 + len(properties) + len(body), len(properties)) + properties + body
                          for body in bodies)
    return BATCH.pack(len(bodies), 0 if properties is None else 1, 0, 0, 0, 0, len(region)) + region


def key(text):
    """Properties of a message with a key."""
    return struct.pack("<BH", 1, len(text)) + text


def priority(number):
    """Properties of a message that overtakes those with lower numbers."""
    return struct.pack("<BHB", 2, 1, number)


def ttl(us):
    """Properties of a message that expires after so many microseconds."""
    return struct.pack("<BHQ", 3, 8, us)


def delay(us):
    """Properties of a message that waits for so many microseconds."""
    return struct.pack("<BHQ", 4, 8, us)


def not_before(us):
    """Properties of a message that waits until then: microseconds since 1970."""
    return struct.pack("<BHq", 11, 8, us)


def encode_frame(kind, link=0, sequence=0, body=b"", flags=0):
    return HEADER.pack(len(body), kind, flags, link, sequence) + body


def encode_attach(role, name, options=None):
    text = b"" if options is None else json.dumps(options).encode()
    return struct.pack("<HBB", len(name), role, 0) + name + text


def connect(url, timeout=10):
    """A bare socket for tcp://, baton:// and unix:// URLs."""
    parts = urlsplit(url)
    if parts.scheme == "unix":
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.settimeout(timeout)
        sock.connect(parts.path)
    else:
        sock = socket.create_connection((parts.hostname, parts.port), timeout=timeout)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


class Peer:
    """One connection. `timeout` is the deadline of every single wait."""

    def __init__(self, url, heartbeat_ms=3_600_000, timeout=30, handshake=True, **hello):
        self.timeout = timeout
        self.sock = connect(url)
        self.sock.settimeout(timeout)
        self.readable = bytearray()
        self.unread = []
        self.answers_ping = True
        self.welcome = None
        self.request = 0
        if handshake:
            self.shake_hands(heartbeat_ms=heartbeat_ms, **hello)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.sock.close()

    # --- Frames ---

    def shake_hands(self, **hello):
        self.sock.sendall(MAGIC + bytes([1, 1, 0, 0]) + encode_frame(HELLO, body=json.dumps(hello).encode()))
        answer = self.take(8, time.monotonic() + self.timeout)
        assert answer == MAGIC + bytes([1, 1, 1, 0]), answer
        self.welcome = self.expect(WELCOME).json()

    def send(self, kind, link=0, sequence=0, body=b"", flags=0):
        self.sock.sendall(encode_frame(kind, link, sequence, body, flags))

    def fill(self, size, deadline):
        """Reads until that many bytes are there."""
        while len(self.readable) < size:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.sock], [], [], left)[0]:
                raise TimeoutError(f"nothing more from the broker; still unread: {self.unread[:20]}")
            try:
                piece = self.sock.recv(1 << 20)
            except ConnectionError as error:
                raise Closed(str(error)) from error
            if not piece:
                raise Closed(f"end of stream; unread: {self.unread[:20]}")
            self.readable += piece

    def take(self, size, deadline):
        self.fill(size, deadline)
        piece = bytes(self.readable[:size])
        del self.readable[:size]
        return piece

    def read_frame(self, timeout=None):
        """The next frame on the wire, whatever it is; PING is answered and left out."""
        deadline = time.monotonic() + (self.timeout if timeout is None else timeout)
        while True:
            self.fill(HEADER.size, deadline)
            length, kind, flags, link, sequence = HEADER.unpack_from(self.readable)
            body = self.take(HEADER.size + length, deadline)[HEADER.size:]
            if kind == PING and self.answers_ping:
                self.send(PONG, sequence=sequence)
                continue
            return Frame(kind, flags, link, sequence, body)

    def next_frame(self, timeout=None):
        """The oldest frame that nobody has looked at."""
        return self.unread.pop(0) if self.unread else self.read_frame(timeout)

    def expect(self, kind, link=0, matching=None, timeout=None):
        """The first frame of this kind on this link, unread or still to come. An ERROR in its place is raised."""
        def fits(frame):
            return frame.kind == kind and frame.link == link and (matching is None or matching(frame))

        deadline = time.monotonic() + (self.timeout if timeout is None else timeout)
        for index, frame in enumerate(self.unread):
            if fits(frame):
                return self.unread.pop(index)
        while True:
            frame = self.read_frame(deadline - time.monotonic())
            if fits(frame):
                return frame
            if frame.kind == ERROR and frame.link in (0, link):
                raise Refused(frame.fault())
            self.unread.append(frame)

    def expect_fault(self, link=0):
        return self.expect(ERROR, link).fault()

    def expect_closed(self, timeout=None):
        """Reads until the broker closes; returns what came before that."""
        frames = []
        try:
            while True:
                frames.append(self.read_frame(timeout))
        except Closed:
            return frames

    def ping(self, token=1):
        self.send(PING, sequence=token)
        self.expect(PONG, matching=lambda frame: frame.sequence == token)

    # --- Links ---

    def attach_sender(self, link, name, **options):
        self.send(ATTACH, link, body=encode_attach(SENDER, name, options or None))
        return self.expect(ATTACHED, link)

    def attach_receiver(self, link, name, credit=WINDOW, **options):
        self.send(ATTACH, link, body=encode_attach(RECEIVER, name, options or None))
        if credit is not None:
            self.give_credit(link, *credit)
        return self.expect(ATTACHED, link)

    def detach(self, link):
        self.send(DETACH, link)
        self.expect(DETACHED, link)

    def give_credit(self, link, messages, size=1 << 40):
        self.send(CREDIT, link, body=struct.pack("<QQ", messages, size))

    def publish(self, link, sequence, *bodies, properties=None):
        self.send(PUBLISH, link, sequence, encode_batch(bodies, properties))

    def confirmed(self, link, sequence):
        """Waits until everything up to `sequence` is decided; the exceptions."""
        exceptions = []
        while True:
            frame = self.expect(CONFIRM, link)
            exceptions += frame.exceptions()
            if frame.sequence >= sequence:
                return exceptions

    def publish_on(self, link, channel, bodies, properties=None):
        """publish_all() on a link of its own: what was granted to another one is not for this."""
        self.attach_sender(link, channel)
        exceptions = self.publish_all(link, 1, bodies, properties)
        self.detach(link)
        return exceptions

    def publish_all(self, link, sequence, bodies, properties=None):
        """Publishes within the broker's credit, in batches, and waits for the confirms. Counts from a fresh ATTACH."""
        queue, at = list(bodies), 0
        head = 4 if properties is None else 6 + len(properties)
        limit, used = (0, 0), [0, 0]
        while at < len(queue):
            count, size = 0, BATCH.size
            room = min(limit[1] - used[1], self.welcome["frame_size_max"] - HEADER.size)
            while at + count < len(queue) and used[0] + count < limit[0] and size + head + len(queue[at + count]) <= room:
                size += head + len(queue[at + count])
                count += 1
            if count == 0:
                limit = self.expect(CREDIT, link).credit()
                continue
            self.publish(link, sequence + at, *queue[at:at + count], properties=properties)
            at, used = at + count, [used[0] + count, used[1] + size]
        return self.confirmed(link, sequence + at - 1)

    def deliveries(self, link, count):
        """At least `count` messages, in the order of arrival."""
        messages = []
        while len(messages) < count:
            messages += self.expect(DELIVER, link).messages()
        return messages

    def settle(self, link, offset, count=1, attempt=1, outcome=DONE, receipt=0, argument=0, note=None):
        text = b"" if note is None else struct.pack("<H", len(note)) + note
        self.send(SETTLE, link, receipt, text + SETTLE_RANGE.pack(offset, count, attempt, outcome, 0, 0, argument),
                  0 if note is None else NOTE)

    def settle_and_wait(self, link, offset, count=1, attempt=1, outcome=DONE, receipt=1, argument=0, note=None):
        self.settle(link, offset, count, attempt, outcome, receipt, argument, note)
        return self.settled(link, receipt)

    def settled(self, link, receipt):
        exceptions = []
        while True:
            frame = self.expect(SETTLED, link)
            exceptions += frame.exceptions()
            if frame.sequence >= receipt:
                return exceptions

    def ask(self, link):
        """STATE of a link; behind every DELIVER that was due."""
        self.send(STATE, link)
        return self.expect(STATE, link).state()

    # --- Large messages ---

    def announce(self, link, sequence, total, kind=PUBLISH):
        self.send(FRAGMENT, link, sequence, struct.pack("<BBHIQ", kind, 0, 0, 0, total), FIRST)

    def assemble(self, link):
        """A DELIVER that arrives in fragments: its body."""
        first = self.expect(FRAGMENT, link, lambda frame: frame.flags & FIRST)
        kind, _, _, _, total = struct.unpack("<BBHIQ", first.body)
        assert kind == DELIVER
        body = bytearray()
        while True:
            piece = self.expect(FRAGMENT, link)
            assert piece.sequence == len(body), "fragments in order"
            body += piece.body
            if piece.flags & LAST:
                assert len(body) == total
                return bytes(body)

    # --- Administration ---

    def admin(self, op, name=b"", **arguments):
        self.request += 1
        body = struct.pack("<HH", len(name), 0) + name + json.dumps({"op": op, **arguments}).encode()
        self.send(ADMIN, sequence=self.request, body=body)
        return self.expect(ADMIN_REPLY, matching=lambda frame: frame.sequence == self.request).json()

    def show(self, name):
        reply = self.admin("channel.show", name)
        assert reply["ok"], reply
        return reply["channel"]
