"""Texts of users in messages, without what may be a secret."""

from __future__ import annotations

import time

import pytest

from jackfield.messages import hide_secrets

LIMIT_S = 5.0


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("f(password='hush')", "f(password='***')"),
        ("f(pwd='hush')", "f(pwd='***')"),
        ("{'token': b'hush'}", "{'token': b'***'}"),
        ("f(credentials=('me', 'hush'), n=1)", "f(credentials=***, n=1)"),
        ("{'tokens': ['hush', 'hush'], 'n': 1}", "{'tokens': ***, 'n': 1}"),
        ("{'secrets': {'db': ('me', ['hush'])}}", "{'secrets': ***}"),
        ("f(secret=Secret(value=['hush']), n=1)", "f(secret=***, n=1)"),
        ("f(credentials=('me', ['hush', 'hus", "f(credentials=***"),
        ("login --token hush me", "login --token *** me"),
        ("login --api-key 'hush hush' me", "login --api-key '***' me"),
        ("login --token --verbose me", "login --token --verbose me"),
        ("token (see above) of x", "token (see above) of x"),
        ("f(auth=('me', 'hush'), n=1)", "f(auth=***, n=1)"),
        ("f(author='ada', n=1)", "f(author='ada', n=1)"),
        ("{'auth': 'hush'}", "{'auth': '***'}"),
        ("got Cookie: sid=hush; b=hush\nnext", "got Cookie: ***\nnext"),
        ("-H 'set-cookie: sid=hush; b' x", "-H 'set-cookie: ***' x"),
        ("f(cookies={'sid': 'hush'})", "f(cookies=***)"),
        ("[('password', 'hush'), ('n', 1)]", "[('password', '***'), ('n', 1)]"),
        ("the password is: hush", "the password is: ***"),
        ("the token is wrong", "the token is wrong"),
        ("mysql -h db -phush lab", "mysql -h db -p*** lab"),
        ("mysqldump -u me -p'hush' lab", "mysqldump -u me -p'***' lab"),
        ("mysql -p lab", "mysql -p lab"),
        ("sshpass -p hush ssh h", "sshpass -p *** ssh h"),
        ("mkdir -parents x", "mkdir -parents x"),
        ("curl -u me:hush http://h/", "curl -u me:*** http://h/"),
        ("curl --user 'me:hush' -s", "curl --user 'me:***' -s"),
        ("sort -u a.txt", "sort -u a.txt"),
    ],
)
def test_a_text_is_shown_without_its_secrets(text: str, shown: str) -> None:
    assert hide_secrets(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "token=[",
        "token=[(",
        "token=({",
        "--token ",
        "mysql ",
        "cookie:",
        "-u ",
        "auth' ",
    ],
)
def test_no_text_takes_long_to_be_searched(text: str) -> None:
    began = time.perf_counter()

    for many in (text * 5_000, text + "[(" * 10_000, text + "x" * 50_000):
        hide_secrets(many)

    assert time.perf_counter() - began < LIMIT_S
