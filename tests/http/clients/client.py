# SPDX-License-Identifier: Apache-2.0
"""Keyrest as Python's http.client sees it: client.py PORT. Ends with a traceback when it is otherwise."""
import http.client
import sys
import threading

connection = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]), timeout=20)


def ask(method, path, body=None, headers={}, **options):
    """One request on the one connection; the answer, its body read to the end."""
    connection.request(method, path, body, headers, **options)
    answer = connection.getresponse()
    answer.content = answer.read()
    return answer


def expect(answer, status, content=b""):
    assert (answer.status, answer.content) == (status, content), (answer.status, answer.content)
    return answer


def keeps_the_connection():
    every_byte = bytes(range(256))
    etag = expect(ask("PUT", "/keys/python/bytes", every_byte), 201).headers["ETag"]
    socket = connection.sock
    for _ in range(3):
        assert expect(ask("GET", "/keys/python/bytes"), 200, every_byte).headers["ETag"] == etag
        head = expect(ask("HEAD", "/keys/python/bytes"), 200)
        assert head.headers["Content-Length"] == "256"
        expect(ask("GET", "/keys/python/bytes", headers={"If-None-Match": etag}), 304)
        expect(ask("GET", "/keys/python/bytes", headers={"Range": "bytes=65-67"}), 206, b"ABC")
        assert ask("GET", "/keys/python/absent").status == 404
        expect(ask("PUT", "/keys/python/empty", b""), 201)
        expect(ask("DELETE", "/keys/python/empty"), 204)
    assert connection.sock is socket, "the connection was not kept"


def judges_conditions():
    etag = expect(ask("PUT", "/keys/python/swap", b"1", {"If-None-Match": "*"}), 201).headers["ETag"]
    lost = ask("PUT", "/keys/python/swap", b"2", {"If-None-Match": "*"})
    assert lost.status == 412 and lost.headers["ETag"] == etag
    assert lost.headers["Content-Type"] == "application/problem+json"
    expect(ask("PUT", "/keys/python/swap", b"2", {"If-Match": etag}), 204)
    assert ask("PUT", "/keys/python/swap", b"3", {"If-Match": etag}).status == 412
    modified = expect(ask("GET", "/keys/python/swap"), 200, b"2").headers["Last-Modified"]
    expect(ask("GET", "/keys/python/swap", headers={"If-Modified-Since": modified}), 304)


def puts_in_chunks():
    pieces = [b"%d\n" % number * 1000 for number in range(100)]
    expect(ask("PUT", "/keys/python/chunks", iter(pieces), encode_chunked=True), 201)
    expect(ask("GET", "/keys/python/chunks"), 200, b"".join(pieces))


def waits_for_100_continue():
    def begin(path, **headers):
        connection.putrequest("PUT", path)
        connection.putheader("Content-Length", "5")
        connection.putheader("Expect", "100-continue")
        for name, value in headers.items():
            connection.putheader(name.replace("_", "-"), value)
        connection.endheaders()
        return connection.sock.recv(12, 2)  # MSG_PEEK: what comes before the body is sent

    assert begin("/keys/python/waits") == b"HTTP/1.1 100"
    connection.send(b"12345")
    answer = connection.getresponse()
    assert (answer.status, answer.read()) == (201, b"")
    assert begin("/keys/python/waits", If_None_Match="*") == b"HTTP/1.1 412"
    answer = connection.getresponse()
    assert b"precondition-failed" in answer.read()
    expect(ask("GET", "/keys/python/waits"), 200, b"12345")  # on a new connection, by itself


def counts_from_many_threads():
    def count():
        own = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]), timeout=20)
        for _ in range(20):
            own.request("POST", "/incr/python/counter")
            assert own.getresponse().read().isdigit()
        own.close()

    threads = [threading.Thread(target=count) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expect(ask("GET", "/keys/python/counter"), 200, b"160")


keeps_the_connection()
judges_conditions()
puts_in_chunks()
waits_for_100_continue()
counts_from_many_threads()
