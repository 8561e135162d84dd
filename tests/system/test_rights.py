"""Who may read and write which session: roles x whose session it is, asked by a service for each account."""

import pytest

import kapwire
from kapwire import numbers

PRIVATE, CLUB, PUBLIC = 1, 2, 3
ROLES = ('VIEWER', 'COACH', 'EXPERT', 'CURATOR', 'ADMIN')
# A save under the id of a session that one may not see says only that the id is taken.
REFUSALS = (kapwire.FORBIDDEN, kapwire.NOT_FOUND)


@pytest.fixture(scope='module')
def scene(daemon, world):
    with daemon.client() as admin:
        token = admin.call('token.create', name='app', role=numbers.ROLE_SERVICE).token
        club = admin.call('club.save', club={'name': 'Club', 'slug': 'club-' + world.mark}).id
        author = world.user(admin, 'author')
        users = {}
        for role in ROLES:
            for member in (False, True):
                users[role, member] = world.user(admin, f'{role.lower()}-{int(member)}', role)
                if member:
                    admin.call('membership.set', club=club, user=users[role, member], role=1)
        foreign = {name: admin.call('session.save', **world.tree(name, 1, 1, owner=author, club=club, visibility=visibility))
                   for name, visibility in (('private', PRIVATE), ('club', CLUB), ('public', PUBLIC))}
    with kapwire.Client(daemon.tcp, token=token) as service:
        assert service.welcome.role == numbers.ROLE_SERVICE
        yield service, users, foreign, author


def may(service, name, /, refusals=REFUSALS, **fields):
    try:
        service.call(name, **fields)
        return True
    except kapwire.Refused as refused:
        assert refused.status in refusals, refused
        return False


@pytest.mark.parametrize('role', ROLES)
@pytest.mark.parametrize('member', [False, True])
def test_foreign_sessions(scene, role, member):
    service, users, foreign, _ = scene
    service.on_behalf_of = users[role, member]
    reads = {name: may(service, 'session.graph', id=saved.id) for name, saved in foreign.items()}
    admin = role == 'ADMIN'
    assert reads == {'private': admin, 'club': member or admin, 'public': True}
    for name, saved in foreign.items():
        assert may(service, 'session.get', id=saved.id) == reads[name]
        session = {'sys': {'id': saved.id}, 'description': f'{role} {member}'}
        refusals = (kapwire.FORBIDDEN if reads[name] or role == 'VIEWER' else kapwire.ALREADY_EXISTS,)
        assert may(service, 'session.save', refusals, session=session) == admin, name
        assert may(service, 'session.delete', id=saved.id, dry_run=True) == admin, name


@pytest.mark.parametrize('role', ROLES)
def test_own_sessions(scene, world, role):
    service, users, _, _ = scene
    service.on_behalf_of = users[role, False]
    tree = world.tree('A moi', 1, 1, owner=users[role, False])
    if role == 'VIEWER':
        service.refused(kapwire.FORBIDDEN, 'session.save', **tree)
        return
    saved = service.call('session.save', **tree)
    service.call('session.graph', id=saved.id)
    service.on_behalf_of = users['COACH', True]
    assert not may(service, 'session.graph', id=saved.id)
    assert not may(service, 'session.delete', id=saved.id)
    service.on_behalf_of = users[role, False]
    service.call('session.delete', id=saved.id)


def test_lists_show_what_may_be_read(scene):
    service, users, foreign, author = scene
    for member, expected in ((False, {'public'}), (True, {'public', 'club'})):
        service.on_behalf_of = users['COACH', member]
        listed = service.call('session.list', owner=author).sessions
        assert {card.title for card in listed} == expected
        assert {card.id for card in listed} == {foreign[name].id for name in expected}


def test_a_coach_cannot_save_for_another(scene, world):
    service, users, _, author = scene
    service.on_behalf_of = users['COACH', False]
    assert not may(service, 'session.save', **world.tree('Pas a moi', 1, 1, owner=author))


def test_what_is_not_for_a_role(scene):
    service, users, _, _ = scene
    service.on_behalf_of = users['COACH', False]
    service.refused(kapwire.FORBIDDEN, 'ref.put', tag={'name': 'non'})
    service.refused(kapwire.FORBIDDEN, 'token.create', name='x', role=numbers.ROLE_ADMIN)
    service.on_behalf_of = kapwire.new_id()
    assert not may(service, 'session.list')


def test_a_revoked_token_opens_nothing(daemon):
    with daemon.client() as admin:
        made = admin.call('token.create', name='short', role=numbers.ROLE_SERVICE)
        kapwire.Client(daemon.tcp, token=made.token).close()
        admin.call('token.revoke', id=made.id)
    with kapwire.Client(daemon.tcp, hello=False) as late:
        late.refused(kapwire.BAD_CREDENTIALS, 'connection.hello', protocol_min=1, protocol_max=1, token=made.token)
