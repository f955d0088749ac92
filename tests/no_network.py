"""Refuse every internet connection of the Python process that runs this file.

conftest.py runs it in the test process, and, as an IPython start-up file, in each notebook's kernel. Jupyter's own
messages travel through ZeroMQ, which this does not touch.
"""

import socket


def _install():
    connect, connect_ex, getaddrinfo = socket.socket.connect, socket.socket.connect_ex, socket.getaddrinfo

    def refuse(target):
        raise OSError(f"the tests run offline, but something tried to reach {target}")

    def guarded_connect(self, address):
        return refuse(address) if self.family in (socket.AF_INET, socket.AF_INET6) else connect(self, address)

    def guarded_connect_ex(self, address):
        return refuse(address) if self.family in (socket.AF_INET, socket.AF_INET6) else connect_ex(self, address)

    def guarded_getaddrinfo(host, *args, **kwargs):
        local = host in (None, "", "localhost", "127.0.0.1", "::1", b"localhost")
        return getaddrinfo(host, *args, **kwargs) if local else refuse(host)

    socket.socket.connect = guarded_connect
    socket.socket.connect_ex = guarded_connect_ex
    socket.getaddrinfo = guarded_getaddrinfo


_install()
