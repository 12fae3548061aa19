"""People from Prolific whose address Prolific has signed are verified; nobody else of Prolific comes in beside them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import logging
import os
import re
import time

import jwt
import pytest
import sqlalchemy as sa
from click.testing import CliRunner
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import RSAAlgorithm

from evalkit.cli import main
from evalkit.errors import InputError
from tests.turing_test.studies import make_study
from turing_test.database import schema as tables
from turing_test.server.doctor import examine
from turing_test.sessions.recruiters import PLATFORMS
from turing_test.sessions.signed_arrivals import (
    LONGEST_READING_S,
    ProlificKeys,
    SignedArrival,
    opened_before,
    opening_stamp,
)
from turing_test.study.protocol import Protocol
from turing_test.study.study_folder import read_study

S, E = tables.session.c, tables.event.c
SITE = "https://study.example.org"
IDS = {"PROLIFIC_PID": "p1", "STUDY_ID": "s1", "SESSION_ID": "x1"}
KEYS_FILE = "prolific_keys.json"
PUBLIC_PEM = {"encoding": serialization.Encoding.PEM, "format": serialization.PublicFormat.SubjectPublicKeyInfo}


@pytest.fixture(scope="module")
def prolific_key():
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture(scope="module")
def other_key():
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def key_set(**keys):
    """A JSON Web Key Set of public keys by name, as Prolific publishes it."""
    entries = [
        {**RSAAlgorithm.to_jwk(key.public_key(), as_dict=True), "kid": name, "use": "sig", "alg": "RS256"}
        for name, key in keys.items()
    ]
    return json.dumps({"keys": entries})


@pytest.fixture
def study(tmp_path, prolific_key):
    made = make_study(
        tmp_path / "study", prolific_keys=KEYS_FILE, public_url=SITE, prolific_studies=("s1",), open_link=False
    )
    (made.folder / KEYS_FILE).write_text(key_set(k1=prolific_key))
    return made


def sign(key, *, kid="k1", algorithm="RS256", ids=IDS, **claims):
    now = int(time.time())
    stated = {
        "iss": "https://www.prolific.com", "aud": SITE, "sub": ids["SESSION_ID"], "iat": now, "exp": now + 86_400,
        "prolific": {**ids, "workspace_id": "w1"}, **claims,
    }  # fmt: skip
    stated = {name: value for name, value in stated.items() if value is not None}
    return jwt.encode(stated, key, algorithm=algorithm, headers={"kid": kid} if kid else None)


def address(token, **ids):
    return {**IDS, **ids, "prolific_token": token}


def verified(participant):
    storage = participant.app.extensions["turing_test"].storage
    return storage.read(lambda c: [bool(value) for value in c.execute(sa.select(S.verified).order_by(S.id)).scalars()])


def refused(participant, query, sentence, **more):
    answer = participant.start(query, **more)
    assert answer.status_code in (403, 409), answer.text
    assert re.search(sentence, answer.get_json()["error"])
    assert verified(participant) == []


@pytest.fixture(scope="module")
def admit(tmp_path_factory, prolific_key):
    """The door alone, without a server and a database: who comes, or `InputError`."""
    path = tmp_path_factory.mktemp("keys") / KEYS_FILE
    path.write_text(key_set(k1=prolific_key))
    keys = ProlificKeys(path)
    protocol = Protocol(platforms=("prolific",), prolific_studies=("s1",), prolific_keys=KEYS_FILE, public_url=SITE)
    return lambda query: PLATFORMS["prolific"].arrive(query, None, protocol, lambda token: keys.verify(token, SITE))


def turned_away(admit, query, sentence):
    with pytest.raises(InputError, match=sentence):
        admit(query)


def by_hand(header, claims):
    """What is signed of a token with any header at all, and the token with a signature: no library would make it."""
    parts = [json.dumps(header).encode(), json.dumps(claims).encode()]
    signed = b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in parts)
    return signed, lambda value: (signed + b"." + base64.urlsafe_b64encode(value).rstrip(b"=")).decode()


class TestASignedAddress:
    @pytest.mark.parametrize(
        "audience", [SITE, f"{SITE}/", "study.example.org", f"{SITE}/?PROLIFIC_PID=p1", ["https://a.example", SITE],
                     "https://study.example.org:443/x"],
    )  # fmt: skip
    def test_may_be_made_out_to_the_site_in_several_ways(self, admit, prolific_key, audience):
        arrival = admit(address(sign(prolific_key, aud=audience)))
        assert (arrival.person, arrival.place, arrival.verified) == ("p1", "x1", True)

    def test_lets_its_person_in_as_verified(self, make_client, study, prolific_key):
        person = make_client(study)
        assert person.enter(query=address(sign(prolific_key)))["state"] == "screened"
        assert verified(person) == [True]
        assert person.play()["state"] == "completed"

    def test_may_hold_the_ids_in_its_token_alone(self, admit, prolific_key):
        arrival = admit({"prolific_token": sign(prolific_key)})
        assert (arrival.person, arrival.place, arrival.verified) == ("p1", "x1", True)

    def test_is_checked_with_the_one_key_of_a_pem_file_too(self, make_client, study, prolific_key):
        (study.folder / KEYS_FILE).write_bytes(prolific_key.public_key().public_bytes(**PUBLIC_PEM))
        person = make_client(study)
        person.enter(query=address(sign(prolific_key, kid=None)))
        assert verified(person) == [True]

    def test_says_nothing_to_a_study_without_keys(self, make_client, tmp_path, prolific_key):
        person = make_client(make_study(tmp_path / "study"))
        person.enter(query=address(sign(prolific_key)))
        assert verified(person) == [False]

    def test_stores_neither_token_nor_person(self, make_client, study, prolific_key):
        person = make_client(study)
        token = sign(prolific_key, ids={**IDS, "PROLIFIC_PID": "5f0c1e2d3b4a"})
        person.enter(query={"prolific_token": token})
        storage = person.app.extensions["turing_test"].storage
        stored = storage.read(
            lambda c: [c.execute(sa.select(table)).fetchall() for table in (tables.session, tables.event)]
        )
        assert "5f0c1e2d3b4a" not in repr(stored)
        assert token.rpartition(".")[2] not in repr(stored)


class TestNobodyElse:
    def test_comes_without_a_token(self, make_client, study):
        refused(make_client(study), IDS, "signature is missing from this address; please open the study from Prolific")

    def test_comes_with_a_token_of_another_key(self, make_client, study, other_key):
        refused(make_client(study), address(sign(other_key)), "signature of this address is not valid")

    def test_comes_with_a_key_that_the_study_does_not_know(self, make_client, study, prolific_key, caplog):
        with caplog.at_level(logging.WARNING):
            refused(make_client(study), address(sign(prolific_key, kid="k2")), "by a key that the study does not know")
        assert "Somebody from Prolific was not admitted" in caplog.text
        assert "p1" not in caplog.text

    @pytest.mark.parametrize("algorithm", ["none", "None", "nOnE", ""])
    def test_comes_unsigned(self, admit, prolific_key, algorithm):
        claims = jwt.decode(sign(prolific_key), options={"verify_signature": False})
        _, token = by_hand({"alg": algorithm, "typ": "JWT", "kid": "k1"}, claims)
        turned_away(admit, address(token(b"")), "is not valid")

    def test_takes_the_public_key_for_a_secret(self, admit, prolific_key):
        claims = jwt.decode(sign(prolific_key), options={"verify_signature": False})
        signed, token = by_hand({"alg": "HS256", "typ": "JWT", "kid": "k1"}, claims)
        for secret in (prolific_key.public_key().public_bytes(**PUBLIC_PEM), key_set(k1=prolific_key).encode()):
            forged = token(hmac.new(secret, signed, hashlib.sha256).digest())
            turned_away(admit, address(forged), "is not valid")

    @pytest.mark.parametrize("algorithm", ["RS384", "RS512", "PS256"])
    def test_chooses_another_algorithm(self, admit, prolific_key, algorithm):
        turned_away(admit, address(sign(prolific_key, algorithm=algorithm)), "is not valid")

    def test_brings_a_key_along(self, admit, other_key):
        claims = jwt.decode(sign(other_key), options={"verify_signature": False})
        own = RSAAlgorithm.to_jwk(other_key.public_key(), as_dict=True)
        token = jwt.encode(claims, other_key, algorithm="RS256", headers={"kid": "k1", "jwk": own})
        turned_away(admit, address(token), "is not valid")

    @pytest.mark.parametrize(
        ("claims", "sentence"),
        [
            ({"exp": 1_700_000_000}, "has expired"),
            ({"exp": int(time.time()) - 5}, "has expired"),
            ({"exp": None}, "is not valid"),
            ({"aud": None}, "is not valid"),
            ({"aud": "https://study.example.org.evil.org"}, "is for another site"),
            ({"aud": "http://study.example.org"}, "is for another site"),
            ({"aud": "https://study.example.org:8443"}, "is for another site"),
            ({"aud": "https://study.example.org:x"}, "is for another site"),
            ({"aud": "evil.org"}, "is for another site"),
            ({"aud": 7}, "is for another site"),
            ({"prolific": None}, "does not hold PROLIFIC_PID, STUDY_ID, SESSION_ID"),
            ({"prolific": "p1"}, "does not hold"),
            ({"prolific": {**IDS, "SESSION_ID": 5}}, "does not hold"),
            ({"prolific": {**IDS, "STUDY_ID": "s2"}}, "not the one that Prolific signed"),
        ],
    )
    def test_comes_with_what_was_signed_for_another_time_or_place(self, admit, prolific_key, claims, sentence):
        turned_away(admit, address(sign(prolific_key, **claims)), sentence)

    def test_comes_from_another_study(self, admit, prolific_key):
        ids = {**IDS, "STUDY_ID": "s2"}
        turned_away(admit, address(sign(prolific_key, ids=ids), **ids), "STUDY_ID is not that of this study")

    @pytest.mark.parametrize("name", IDS)
    def test_puts_other_ids_beside_the_token(self, admit, prolific_key, name):
        turned_away(admit, address(sign(prolific_key), **{name: "mine"}), "not the one that Prolific signed")

    @pytest.mark.parametrize("token", ["x", "a.b.c", "..", "e30.e30.", "ä.ö.ü", "." * 5000, "e" * 8000])
    def test_comes_with_what_is_no_token(self, admit, token):
        turned_away(admit, address(token), "is not valid|does not know")

    def test_changes_a_letter(self, admit, prolific_key):
        head, claims, signature = sign(prolific_key).split(".")
        changed = json.loads(base64.urlsafe_b64decode(claims + "=="))
        changed["prolific"]["PROLIFIC_PID"] = "p2"
        forged = base64.urlsafe_b64encode(json.dumps(changed).encode()).rstrip(b"=").decode()
        turned_away(admit, {"prolific_token": f"{head}.{forged}.{signature}"}, "is not valid")


class TestATokenLetsOneBrowserIn:
    def test_and_no_other_one(self, make_client, study, prolific_key):
        token = sign(prolific_key)
        owner, thief = make_client(study), make_client(study)
        owner.enter(query=address(token), attempt="page-1")
        for attempt in ("page-2", None):
            more = {} if attempt is None else {"attempt": attempt}
            answer = thief.start(address(token), **more)
            assert answer.status_code == 409
            assert "has been used already" in answer.get_json()["error"]
        assert owner.play()["state"] == "completed", "whose session goes on"
        assert verified(owner) == [True]

    def test_nor_the_same_token_written_otherwise(self, make_client, study, prolific_key):
        token = sign(prolific_key)
        owner, thief = make_client(study), make_client(study)
        owner.enter(query=address(token), attempt="page-1")
        for other in (f"{token}=", f"{token}==", f"{token}!", f" {token}", token[:-1] + _equal_last(token)):
            assert thief.start(address(other), attempt="page-2").status_code in (403, 409), other
        assert owner.view()["state"] == "screened"

    def test_also_when_the_first_answer_was_lost(self, make_client, study, prolific_key):
        token = sign(prolific_key)
        owner = make_client(study)
        owner.start(address(token), attempt="page-1")
        assert owner.enter(query=address(token), attempt="page-1")["state"] == "screened"
        assert len(verified(owner)) == 1

    def test_while_its_person_comes_back_with_a_new_one(self, make_client, study, prolific_key):
        owner = make_client(study)
        first, second = sign(prolific_key), sign(prolific_key, iat=int(time.time()) + 1)
        owner.enter(query=address(first), attempt="page-1")
        owner.show(1)
        owner.answer(1)
        assert owner.start(address(second), attempt="page-2").status_code == 201
        assert owner.view()["trial"]["number"] == 2
        for used in (first, second):
            assert make_client(study).start(address(used), attempt="page-3").status_code == 409

    def test_and_no_second_session_of_that_person(self, make_client, study, prolific_key):
        owner = make_client(study)
        owner.enter(query=address(sign(prolific_key)))
        ids = {**IDS, "SESSION_ID": "x2"}
        again = owner.start(address(sign(prolific_key, ids=ids), **ids))
        assert again.status_code == 409
        assert "one session per person" in again.get_json()["error"]

    def test_and_is_not_used_up_by_declining(self, make_client, study, prolific_key):
        token = sign(prolific_key)
        person = make_client(study)
        person.start(address(token), consent=False)
        assert person.enter(query=address(token), attempt="page-1")["state"] == "screened"


class TestReadingTheConsentText:
    def test_may_take_longer_than_the_token_lasts(self, make_client, study, prolific_key):
        person = make_client(study)
        now = time.time()
        token = sign(prolific_key, exp=int(now) - 60)

        def opened(seconds_ago, of=token):
            proof = hashlib.sha256(of.rpartition(".")[0].encode()).hexdigest()
            return opening_stamp(study.key, SignedArrival(ids=IDS, proof=proof), now - seconds_ago)

        forged = f"{int(now) - 600}.{'0' * 64}"
        another = opened(600, of=sign(prolific_key, exp=int(now) - 61))
        for stamp in ("", forged, another, opened(30), opened(-600), opened(LONGEST_READING_S + 5), "1", "."):
            refused(person, address(token), "has expired", opened=stamp)
        person.enter(query=address(token), opened=opened(600))
        assert verified(person) == [True]

    def test_counts_from_when_the_page_was_opened_with_a_token_that_was_valid(self, make_client, study, prolific_key):
        client = make_client(study).client

        def stamp(token):
            page = client.get("/", query_string=address(token)).text
            return re.search(r'data-opened="([^"]*)"', page).group(1)

        token = sign(prolific_key)
        assert 0 <= opened_before(study.key, stamp(token), token, time.time()) < LONGEST_READING_S
        for bad in (sign(prolific_key, exp=int(time.time()) - 5), sign(prolific_key, kid="k2"), "x", ""):
            assert stamp(bad) == ""


class TestTheFileOfKeys:
    def test_is_read_again_when_it_was_written_anew(self, make_client, study, prolific_key, other_key):
        person = make_client(study)
        refused(person, address(sign(other_key, kid="k2")), "does not know")
        path = study.folder / KEYS_FILE
        path.write_text("half writ")
        os.utime(path, ns=(1, 1))
        refused(person, address(sign(other_key, kid="k2")), "does not know")
        path.write_text(key_set(k1=prolific_key, k2=other_key))
        os.utime(path, ns=(2, 2))
        person.enter(query=address(sign(other_key, kid="k2")))
        assert verified(person) == [True]

    @pytest.mark.parametrize(
        ("content", "sentence"),
        [
            ("", "no RSA public key of 2,048 bits"),
            ("{}", "no RSA public key"),
            ('{"keys": []}', "no RSA public key"),
            ('{"keys": 5}', "no RSA public key"),
            ('{"keys": [{"kty": "RSA", "n": "AQAB", "e": "AQAB", "kid": "k1"}]}', "no RSA public key"),
            ('{"keys": [{"kty": "oct", "k": "c2VjcmV0", "kid": "k1"}]}', "holds a private key"),
            ("[" * 100_000, "no RSA public key"),
            ("-----BEGIN PUBLIC KEY-----\nxx\n-----END PUBLIC KEY-----", "no RSA public key"),
        ],
    )
    def test_that_holds_no_public_key_ends_the_server_with_a_sentence(self, study, content, sentence):
        (study.folder / KEYS_FILE).write_text(content)
        ended = CliRunner().invoke(main, ["study", "serve", str(study.folder), "--port", "0"])
        assert ended.exit_code == 2
        assert sentence in ended.output
        assert not study.database.exists()
        assert next(check for check in examine(study.folder) if check.name == "prolific").ok is False

    def test_may_hold_no_private_short_or_other_key(self, study, prolific_key):
        path = study.folder / KEYS_FILE
        short = rsa.generate_private_key(public_exponent=65537, key_size=1024)
        private = json.dumps({"keys": [{**RSAAlgorithm.to_jwk(prolific_key, as_dict=True), "kid": "k1"}]})
        pem = prolific_key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode()
        curve = ec.generate_private_key(ec.SECP256R1()).public_key().public_bytes(**PUBLIC_PEM).decode()
        for content, sentence in ((private, "private"), (pem, "private"), (key_set(k1=short), "2,048"), (curve, "RSA")):
            path.write_text(content)
            with pytest.raises(InputError, match=sentence):
                ProlificKeys(path)

    @pytest.mark.parametrize("name", ["secret.key", "manifest.json", "study.db"])
    def test_is_none_of_the_studys_own(self, tmp_path, name):
        study = make_study(tmp_path / "study", prolific_keys=name, public_url=SITE)
        with pytest.raises(InputError, match="a file of the study itself"):
            ProlificKeys.of(study)

    def test_may_be_missing_for_no_longer_than_until_the_server_starts(self, study):
        (study.folder / KEYS_FILE).unlink()
        ended = CliRunner().invoke(main, ["study", "serve", str(study.folder), "--port", "0"])
        assert ended.exit_code == 2
        assert "cannot be read as the keys that prolific_keys names" in ended.output

    def test_needs_the_address_that_is_signed_for(self):
        with pytest.raises(InputError, match="without public_url"):
            Protocol(prolific_keys="keys.json")

    def test_is_looked_at_by_the_doctor(self, study, tmp_path):
        def finding(folder):
            return next(check for check in examine(folder) if check.name == "prolific")

        assert finding(study.folder).ok
        os.utime(study.folder / KEYS_FILE, (time.time() - 5 * 86_400,) * 2)
        assert finding(study.folder).ok is None
        assert "5 days old" in finding(study.folder).finding
        assert "taken at their word" in finding(make_study(tmp_path / "plain").folder).finding


@pytest.mark.parametrize("name", ["secret.key", "missing.txt"])
def test_a_consent_text_that_cannot_be_shown_ends_the_server_with_a_sentence(tmp_path, name):
    study = read_study(make_study(tmp_path / "study", consent_file=name).folder)
    ended = CliRunner().invoke(main, ["study", "serve", str(study.folder), "--port", "0"])
    assert ended.exit_code == 2
    assert "consent_file" in ended.output
    assert not study.database.exists()


def _equal_last(token):
    """Another last letter for the same bytes: of its six bits a signature of 256 bytes uses two."""
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return letters[letters.index(token[-1]) ^ 1]
