"""Records of WARC files, written by hand."""


def record(
    kind: str, block: bytes, content_type: str = "", address: str = "https://example.org/", **headers: str
) -> bytes:
    """A record of a WARC file."""
    lines = [
        "WARC/1.0",
        f"WARC-Type: {kind}",
        f"WARC-Record-ID: <urn:uuid:{kind}>",
        f"WARC-Target-URI: {address}",
        "WARC-Date: 2026-01-02T03:04:05Z",
        *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items()),
        *([f"Content-Type: {content_type}"] if content_type else []),
        f"Content-Length: {len(block)}",
    ]
    return "".join(f"{line}\r\n" for line in lines).encode() + b"\r\n" + block + b"\r\n\r\n"


def http(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    """An HTTP response."""
    return (
        "".join(f"{line}\r\n" for line in [f"HTTP/1.1 {status}", *headers]).encode("latin-1") + b"\r\n" + body
    )


def response(
    body: bytes, *headers: str, status: str = "200 OK", address: str = "https://example.org/"
) -> bytes:
    """A record that holds a response."""
    return record(
        "response", http(body, *headers, status=status), "application/http; msgtype=response", address
    )
