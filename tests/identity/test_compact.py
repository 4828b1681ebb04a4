"""The layers below tokens and proofs hold by themselves: each check here is also made above."""

from __future__ import annotations

import msgspec
import pytest
from joserfc import jws
from joserfc.jwk import ECKey, OctKey, RSAKey

from remit.identity.compact import (
    FOREIGN_REGISTRY,
    ISSUED_REGISTRY,
    claims_of,
    milliseconds,
    parse_compact,
    sign,
    signature_holds,
    token_hash,
)
from remit.identity.keys import generate_key

MEMBERS = frozenset({"alg"})


def signed(algorithm: str, key: ECKey | RSAKey | OctKey) -> jws.CompactSignature:
    text = jws.serialize_compact({"alg": algorithm}, b"{}", key, algorithms=[algorithm])
    compact = parse_compact(text, MEMBERS)
    assert compact is not None
    return compact


def test_the_registries_allow_what_they_name() -> None:
    p256, p384, rsa = generate_key(), ECKey.generate_key("P-384"), RSAKey.generate_key(2048)
    assert signature_holds(signed("ES256", p256), p256, ISSUED_REGISTRY)
    assert signature_holds(signed("ES256", p256), p256, FOREIGN_REGISTRY)
    for algorithm, key in (("ES384", p384), ("RS256", rsa)):
        assert signature_holds(signed(algorithm, key), key, FOREIGN_REGISTRY)
        assert not signature_holds(signed(algorithm, key), key, ISSUED_REGISTRY)
    for algorithm in ("RS384", "RS512", "PS256", "PS384", "PS512"):
        assert not signature_holds(signed(algorithm, rsa), rsa, FOREIGN_REGISTRY)


def test_hmac_is_never_allowed() -> None:
    key = OctKey.generate_key(256)
    for registry in (ISSUED_REGISTRY, FOREIGN_REGISTRY):
        assert not signature_holds(signed("HS256", key), key, registry)  # type: ignore[arg-type]


def test_a_key_does_not_verify_another_keys_signature() -> None:
    assert not signature_holds(signed("ES256", generate_key()), generate_key(), FOREIGN_REGISTRY)
    assert not signature_holds(signed("ES256", generate_key()), RSAKey.generate_key(2048), FOREIGN_REGISTRY)
    assert not signature_holds(signed("ES256", generate_key()), ECKey.generate_key("P-384"), FOREIGN_REGISTRY)


@pytest.mark.parametrize("size", [8193, 20_000])
def test_an_oversized_text_is_not_parsed(size: int) -> None:
    assert parse_compact(sign({}, {"more": "x" * size}, generate_key()), MEMBERS) is None


def test_a_text_beyond_ascii_is_not_parsed() -> None:
    assert parse_compact("\u00e4.\ud800.x", MEMBERS) is None


def test_the_appendix_of_rfc_7515() -> None:
    """RFC 7515 appendix A.3: ES256, with its key and its signature."""
    text = (
        "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ij"
        "p0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
    )
    key = ECKey.import_key(
        {
            "kty": "EC",
            "crv": "P-256",
            "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
            "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
        }
    )
    compact = parse_compact(text, MEMBERS)
    assert compact is not None
    assert signature_holds(compact, key, ISSUED_REGISTRY)
    assert claims_of(compact, msgspec.json.Decoder(dict[str, object])) == {
        "iss": "joe",
        "exp": 1300819380,
        "http://example.com/is_root": True,
    }


def test_the_token_hash_of_rfc_9449() -> None:
    assert token_hash("Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU") == "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo"


def test_numeric_dates_keep_their_milliseconds() -> None:
    assert milliseconds(1_800_000_000.001) == 1_800_000_000_001
    assert milliseconds(0) == 0
    assert milliseconds(-0.001) is None
    assert milliseconds(253_402_300_800) is None
    for now in range(1_800_000_000_000, 1_800_000_002_000):
        assert milliseconds(now / 1000) == now
