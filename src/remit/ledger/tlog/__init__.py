"""The formats of a transparency log (C2SP), as plain functions: no storage, no network, only `cryptography`."""
