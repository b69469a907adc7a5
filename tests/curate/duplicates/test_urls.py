"""Addresses that are one, and those that are not."""

import numpy as np
import pytest

from pinisi.curate.duplicates.urls import NO_URL, canonical_url, keep_longest, url_hash

SAME = [
    (
        "https://example.org/a/b?id=3&page=2",
        "http://www.Example.ORG:80/a/b/?page=2&id=3#top",
        "HTTPS://example.org:443//a/./x/../b?utm_source=x&id=3&page=2&fbclid=9",
        " example.org/a/b?id=3&amp;page=2&&gclid=1 ",
        "//user:secret@example.org./a/b/index.html?id=3&page=2&PHPSESSID=12",
        "http://example.org/%61/b;jsessionid=1F?id=%33&page=2",
    ),
    (
        "https://example.org",
        "http://example.org/",
        "example.org/index.php",
        "https://example.org/?",
        "https://example.org/../",
    ),
    ("https://example.org/t%C3%AAn%20ta", "https://example.org/tên ta", "https://example.org/t%c3%aan%20ta/"),
    ("https://xn--hxajbheg2az3al.example/x", "https://παράδειγμα.example/x"),
    ("https://example.org:8080/x", "http://example.org:8080/x/"),
    ("https://[2001:db8::1]/x", "http://[2001:DB8::1]:80/x"),
]
DIFFERENT = [
    "https://example.org/a",
    "https://example.org/A",
    "https://example.org/a?id=1",
    "https://example.org/a?id=2",
    "https://example.org/a?id",
    "https://example.org/a?utm=1",
    "https://example.org/a?gclids=1",
    "https://example.org/a%2Fb",
    "https://example.org/a/b",
    "https://example.org:81/a",
    "https://m.example.org/a",
    "https://example.org/#!/a",
    "https://example.org/#!/b",
    "https://example.org/index",
    "ftp://example.org/a",
]


@pytest.mark.parametrize("spellings", SAME)
def test_spellings_of_one_address(spellings):
    assert {canonical_url(url) for url in spellings} == {spellings[0]}
    assert len({url_hash(url) for url in spellings}) == 1


def test_what_tells_pages_apart_stays():
    assert len({url_hash(url) for url in DIFFERENT} - {NO_URL}) == len(DIFFERENT)
    for url in DIFFERENT + [spellings[0] for spellings in SAME]:
        assert canonical_url(canonical_url(url)) == canonical_url(url)


@pytest.mark.parametrize(
    "odd", ["", "apt:libreoffice-help-id", "no address", "https://", "http://a:port/", "http://[::1", "x/y"]
)
def test_what_is_no_address_comes_back(odd):
    assert canonical_url(f" {odd}\n") == odd
    assert url_hash(odd) == NO_URL


def test_the_longest_of_each_url_stays():
    rng = np.random.default_rng(1)
    count = 307
    hashes, lengths = rng.integers(0, 60, count).astype(np.uint64), rng.integers(0, 5, count)
    keys = rng.permutation(count).astype(np.uint64)
    mask = keep_longest(hashes, lengths, keys)
    for value in range(60):
        members = np.flatnonzero(hashes == value).tolist()
        best = members if value == NO_URL else sorted(members, key=lambda i: (-lengths[i], keys[i]))[:1]
        assert [i for i in members if mask[i]] == best
    order = rng.permutation(count)
    np.testing.assert_array_equal(keep_longest(hashes[order], lengths[order], keys[order]), mask[order])
    same = np.ones(3, np.uint64)
    assert keep_longest(same, same, same, np.array([4, 9, 1])).tolist() == [False, False, True]
    assert keep_longest(same[:0], same[:0], same[:0]).tolist() == []
