#!/usr/bin/env python3
"""Writes the seeds of the fuzz target `session` into corpus/session: conversations as scripts of operations.

    make_session_corpus.py

The meaning of the bytes is in session.cpp (Script::step). When an operation changes there, change it here and run this.
"""

import base64
import pathlib

FOLDER = pathlib.Path(__file__).parent / "corpus" / "session"

RUN = 0  # Behind an operation: turns of all shards follow (7: none).


def operation(code, who, *arguments):
    return [code | who << 5, *arguments, RUN]


def greet(who, kind=0):
    return operation(1, who, kind)


def any_frame(who, kind, flags, link, body):
    return operation(2, who, kind, flags, link, 0, len(body), *body)


def sender(who, link, name=0, options=0):
    return operation(3, who, link, name | options << 3)


def receiver(who, link, name=0, options=0):
    return operation(4, who, link, name | options << 3)


def publish(who, link, count=2, kind=5):
    return operation(5, who, link, count - 1, kind)


def publish_sized(who, link, count, size):
    return operation(5, who, link, count - 1, 63, size & 255, size >> 8)


def credit(who, link, messages=50):
    return operation(7, who, link, messages, 252, 255, 255)


def settle(who, link, first, count, outcome=1, receipt=1):
    return operation(8, who, link, 0, first, count, outcome, receipt)


def state(who, link):
    return operation(10, who, link)


def detach(who, link):
    return operation(11, who, link)


def announce(who, link, thousands):
    return operation(12, who, link, thousands)


def fragment(who, link, thousands):
    return operation(13, who, link, thousands, 0)


def tick(milliseconds):
    return operation(14, 0, milliseconds)


def write(who, size):
    return operation(15, who, size & 255, size >> 8)


def hang_up(who):
    return operation(16, who)


def admin(who, request, name=0, number=1):
    return operation(17, who, name | request << 3, number)


def admin_same_turn(who, request, number):
    return [*operation(17, who, request << 3, number)[:-1], 7]


LATE_MAIL, PUNCTUAL_MAIL, DRAIN, PING = operation(18, 0), operation(19, 0), operation(21, 0, 0), operation(22, 0, 7)
NOT_A_BATCH = any_frame(0, 7, 0, 1, b"x")


def conversations():
    """By name, without the byte of configuration in front."""
    return {
        "publish_deliver_settle": [
            greet(0), greet(1), sender(0, 1), receiver(1, 2), credit(1, 2), publish(0, 1), publish(0, 1, 3, 200),
            state(1, 2), settle(1, 2, 1, 2, 6, 0), settle(1, 2, 1, 2, 1, 7), settle(1, 2, 3, 1, 2, 0), hang_up(1),
            admin(0, 2), hang_up(0)],
        "producer_superseded": [
            greet(0), greet(1), sender(0, 1, 0, 2), publish(0, 1), sender(1, 1, 0, 2), publish(1, 1), detach(0, 1),
            sender(0, 1, 0, 2), publish(0, 1, 60)],
        "large": [
            greet(0), greet(1, 1), sender(0, 1), announce(0, 1, 150), fragment(0, 1, 150), fragment(0, 1, 150),
            fragment(0, 1, 150), receiver(1, 1), credit(1, 1, 5), settle(1, 1, 1, 1), publish_sized(0, 1, 3, 30000),
            state(1, 1)],
        "link_reuse_late": [
            greet(0), greet(2), sender(0, 1), sender(0, 2, 1), LATE_MAIL, detach(0, 1), sender(0, 1, 1),
            receiver(0, 3, 1), credit(0, 3), state(0, 3), detach(0, 3), PUNCTUAL_MAIL, receiver(0, 3), publish(0, 1),
            hang_up(0)],
        "fail_and_attach_late": [
            greet(0), sender(0, 1), sender(0, 2, 1), LATE_MAIL, NOT_A_BATCH, receiver(0, 1), credit(0, 1), state(0, 1),
            NOT_A_BATCH, PUNCTUAL_MAIL, publish(0, 2)],
        "unknown_frames": [
            greet(0), sender(0, 1), any_frame(0, 99, 128, 1, b"abc"), any_frame(0, 99, 0, 1, b"abc"), sender(0, 1),
            any_frame(0, 99, 0, 0, b"")],
        "admin": [
            greet(0), admin(0, 0), admin(0, 1, 1), admin(0, 2), admin(0, 3), admin(0, 4), sender(0, 1, 1),
            publish(0, 1), admin(0, 7, 1), admin(0, 8, 1), admin(0, 6, 1), admin(0, 9), admin(0, 5, 1), admin(0, 10)],
        "admin_same_id": [
            greet(0), admin_same_turn(0, 3, 1), admin_same_turn(0, 2, 1), admin(0, 9, 0, 1)],
        "slow_reader": [
            greet(0), greet(1), operation(23, 1, 0, 0), receiver(1, 1), credit(1, 1), sender(0, 1),
            publish_sized(0, 1, 3, 60000), publish_sized(0, 1, 3, 60000), write(1, 65535), write(1, 65535),
            operation(24, 1), state(1, 1)],
        "heartbeat_and_drain": [
            greet(0, 1), greet(1), sender(0, 1), receiver(1, 1), credit(1, 1), publish(0, 1), tick(60), PING, tick(200),
            DRAIN, publish(0, 1), sender(1, 3), settle(1, 1, 1, 2), tick(250)],
        "client_error": [
            greet(0), sender(0, 1), receiver(0, 2), operation(26, 0, 1, 1), sender(0, 1), operation(26, 0, 0, 2)],
    }


# What the fuzzer found, as it was found.
FOUND = {
    "found_deliveries_behind_the_last_error": "AAEAACEAAAMBEAAFAgH8BQAjARAAJQECBQALAQADARAABQH///8OPEYA",
    "found_pong_in_front_of_the_preamble":
        "AQGCBwAABwMBAAAkAQAAJwEy/JsAJ0Ay/Jubm5ub//8ABQECBQAOPADyBwAOyAAVAABuAQIFACMDAAAoAQAB/v7+9g76AA==",
}


def main():
    FOLDER.mkdir(parents=True, exist_ok=True)
    for shards in (1, 2):
        for name, operations in conversations().items():
            script = bytes([shards - 1]) + b"".join(map(bytes, operations))
            (FOLDER / f"{name}_{shards}").write_bytes(script)
        tight = [greet(0), greet(1), sender(0, 1), publish(0, 1, 20, 40), sender(1, 1), announce(1, 1, 190),
                 announce(0, 1, 190), receiver(0, 2), credit(0, 2), settle(0, 2, 1, 8), tick(100), detach(0, 1)]
        (FOLDER / f"tight_{shards}").write_bytes(bytes([shards - 1 | 30]) + b"".join(map(bytes, tight)))
    (FOLDER / "http").write_bytes(bytes([0, 0, 5]) + b"GET /" + bytes([RUN]))
    for name, text in FOUND.items():
        (FOLDER / name).write_bytes(base64.b64decode(text))


if __name__ == "__main__":
    main()
