"""Protects the four ways in: what is shown, what crosses, what both sides have at the end."""

import msgspec
import pytest
from small_mesh import NOW, Meeting, admitted, by_id, chance, device, founded, grown

from meshwit.peer.trust.certificates import DEPTH_MAX
from meshwit.peer.trust.errors import TrustError
from meshwit.peer.trust.invites import make_token, read_token
from meshwit.peer.trust.joining import (
    APPROVAL_S,
    STEP_S,
    Admit,
    AdmitterState,
    AskCode,
    Confirm,
    Joined,
    JoinRefused,
    RefusalKind,
    Show,
    Way,
)
from meshwit.peer.trust.membership import admits, expel

HOME = founded()


def code_meeting(typed=None, **options):
    """A meeting where the member shows a code and the joiner types it, or something else."""
    meeting = Meeting(HOME, **options)
    code = meeting.codes.new(NOW, chance("code"))
    meeting.begin()
    meeting.from_joiner(meeting.joiner.code(typed or code, NOW))
    return meeting


def token_meeting(**options):
    token = read_token(make_token(HOME, device("ada"), NOW, 1, (), chance("token")), NOW)
    return Meeting(HOME, token=token, **options)


def assert_joined(meeting, way, name="bob"):
    joined, admit = meeting.last("joiner"), meeting.last("member")
    assert isinstance(joined, Joined) and isinstance(admit, Admit)
    assert joined.way == admit.way == way
    assert joined.membership.chain == admit.chain and admit.chain[-1] == admit.certificate
    assert joined.membership.name == admit.certificate.name == name
    assert joined.membership.mesh_key == HOME.mesh_key and joined.membership.mesh_name == "home"
    assert joined.membership.secrets == HOME.secrets
    assert admits(HOME, admit.chain, device("bob").public_key, NOW) == ""
    assert meeting.joiner.next_deadline() is meeting.admitter.next_deadline() is None


def test_by_the_code_that_a_member_shows():
    meeting = code_meeting()
    assert_joined(meeting, Way.CODE)
    assert meeting.last("joiner").addresses == (("192.168.1.2", 4100),)
    assert meeting.last("member").code and not meeting.codes.open_codes(NOW)


def test_by_a_code_given_at_the_start_nothing_else_is_asked():
    meeting = Meeting(HOME, code=f" {_shown(Meeting(HOME).codes)} ".replace("-", " "))
    meeting.codes.new(NOW, chance("shown"))
    assert_joined(meeting.begin(), Way.CODE)
    assert meeting.at_joiner == [meeting.last("joiner")]


def _shown(book):
    return book.new(NOW, chance("shown"))


def test_by_approval_after_both_show_the_same_words():
    meeting = Meeting(HOME).begin()
    assert meeting.at_joiner == [AskCode(), Show(meeting.joiner.words, "home")]
    assert meeting.at_member == [Show(meeting.joiner.words, "bob")]
    assert meeting.admitter.state is AdmitterState.PENDING
    assert meeting.admitter.words == meeting.joiner.words and meeting.admitter.name == "bob"
    assert meeting.admitter.joiner == device("bob").id
    assert_joined(meeting.approve(), Way.APPROVAL)


def test_by_a_code_while_waiting_for_approval():
    meeting = code_meeting()
    assert meeting.admitter.words, "it was pending"
    with pytest.raises(TrustError, match="does not wait"):
        meeting.admitter.approve(NOW)


def test_by_a_token_of_any_member_at_any_other():
    chains = grown(HOME, ("ada", "cid"))
    token = read_token(make_token(HOME, device("ada"), NOW, 1, (), chance("token")), NOW)
    cids = msgspec.structs.replace(HOME, chain=chains["cid"])
    meeting = Meeting(cids, member="cid", token=token).begin()
    assert_joined(meeting, Way.TOKEN)
    assert [each.name for each in meeting.last("joiner").membership.chain] == ["ada", "cid", "bob"]


def test_a_token_lets_many_in():
    for name in ("bob", "cid", "dan"):
        meeting = token_meeting(joiner=name).begin()
        assert isinstance(meeting.last("joiner"), Joined)


def test_into_an_open_mesh_if_the_user_said_so():
    meeting = Meeting(msgspec.structs.replace(HOME, open=True), accept_open=True).begin()
    assert_joined(meeting, Way.OPEN)
    assert meeting.last("joiner").membership.open


def test_the_person_at_the_joiner_can_be_asked_too():
    meeting = Meeting(HOME, confirm=True).begin().approve()
    assert meeting.last("joiner") == Confirm(meeting.joiner.words, "home")
    meeting.from_joiner(meeting.joiner.confirm(NOW))
    assert_joined(meeting, Way.APPROVAL)


def test_the_person_at_the_joiner_sees_other_words():
    meeting = Meeting(HOME, confirm=True).begin().approve()
    meeting.from_joiner(meeting.joiner.deny(NOW))
    assert meeting.last("joiner").why is RefusalKind.DENIED
    with pytest.raises(TrustError, match="approved"):
        meeting.joiner.confirm(NOW)


def test_a_taken_name_gets_a_number():
    assert_joined(Meeting(HOME, taken={"bob"}).begin().approve(), Way.APPROVAL, "bob-2")
    assert_joined(Meeting(HOME, taken={"bob", "BOB-2"}).begin().approve(), Way.APPROVAL, "bob-3")


def test_what_is_handed_out_is_what_holds_when_the_person_approves():
    """A secret that was replaced while somebody waited is not handed out any more."""
    meeting = Meeting(HOME).begin()
    chains = grown(HOME, ("ada", "cid"))
    meeting.membership, record = expel(HOME, device("ada"), device("cid").id, by_id(chains), NOW, bytes(40))
    meeting.approve()
    joined = meeting.last("joiner")
    assert joined.membership.secrets == meeting.membership.secrets[:1]
    assert joined.membership.expulsions == (record,)


def test_a_member_says_no():
    meeting = Meeting(HOME).begin()
    meeting.from_member(meeting.admitter.deny(NOW))
    assert meeting.last("joiner") == JoinRefused("a member said no", "", RefusalKind.DENIED)


def test_nobody_approves_within_ten_minutes():
    meeting = Meeting(HOME).begin()
    late = NOW + APPROVAL_S
    assert meeting.admitter.next_deadline() == late and meeting.admitter.tick(late - 1) == []
    meeting.from_member(meeting.admitter.approve(late))
    assert meeting.last("joiner").why is meeting.last("member").why is RefusalKind.TIMEOUT
    assert not any(isinstance(each, Admit) for each in meeting.at_member)


def test_the_person_at_the_joiner_gives_up():
    meeting = Meeting(HOME).begin()
    meeting.from_joiner(meeting.joiner.give_up())
    assert meeting.last("member").why is RefusalKind.GIVEN_UP
    with pytest.raises(TrustError, match="does not wait"):
        meeting.admitter.approve(NOW)
    assert meeting.joiner.give_up() == []


def test_silence_ends_it_on_both_sides():
    meeting = Meeting(HOME)
    meeting.joiner.start(NOW)
    for machine in (meeting.joiner, meeting.admitter):
        assert machine.next_deadline() == NOW + STEP_S
        assert machine.tick(NOW + STEP_S)[-1].why is RefusalKind.TIMEOUT
        assert machine.tick(NOW + STEP_S) == []


def test_a_mistyped_code_is_explained_and_can_be_typed_again():
    meeting = Meeting(HOME).begin()
    with pytest.raises(ValueError, match="did you mean 'otter'"):
        meeting.joiner.code("41-oter-violin", NOW)
    meeting.approve()
    assert isinstance(meeting.last("joiner"), Joined)


def test_a_code_of_another_member_is_not_known_here():
    meeting = Meeting(HOME, code="41-otter-violin").begin()
    assert meeting.last("joiner").why is RefusalKind.UNKNOWN_CODE
    assert "41" in meeting.last("joiner").reason and "meshwit invite" in meeting.last("joiner").hint


def test_a_member_at_the_end_of_a_long_chain_admits_nobody():
    chain, by = HOME.chain, "ada"
    while len(chain) < DEPTH_MAX:
        chain, by = admitted(chain, by, f"d{len(chain)}"), f"d{len(chain)}"
    meeting = Meeting(msgspec.structs.replace(HOME, chain=chain), member=by).begin().approve()
    assert meeting.last("joiner").why is RefusalKind.FULL


def test_joining_begins_once():
    meeting = Meeting(HOME).begin()
    with pytest.raises(RuntimeError, match="begun already"):
        meeting.joiner.start(NOW)
    assert meeting.approve().joiner.code("41-otter-violin", NOW) == []


def test_a_member_may_be_admitted_again_and_keeps_its_name():
    for _ in range(2):
        assert_joined(Meeting(HOME).begin().approve(), Way.APPROVAL)
