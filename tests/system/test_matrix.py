"""Every operation x every role x whose the rows are: own, the club's, public, foreign.

What is expected is written down here by hand, from the rules of the platform; an operation without a line fails the test.
Accounts are asked for by a service on their behalf; service, ops and auditor come with a token and no account, so that
nothing is theirs and no club is.
"""

import hashlib
import os

import pytest

import kapwire
from kapwire import FORBIDDEN, INVALID, NOT_FOUND, ALREADY_EXISTS, OK, STATE_CONFLICT, new_id, numbers

RELATIONS = ('own', 'club', 'public', 'foreign')
ACCOUNTS = ('VIEWER', 'COACH', 'EXPERT', 'CURATOR', 'ADMIN')
TOKENS = ('SERVICE', 'OPS', 'AUDITOR')
VISIBILITY = {'own': 1, 'club': 2, 'public': 3, 'foreign': 1}
SESSION, SEQUENCE, TEMPLATE = 2, 4, 24

ALL = {*ACCOUNTS, *TOKENS}
ROWS = {*ACCOUNTS, 'SERVICE'}
COACHES = ROWS - {'VIEWER'}
EXPERTS = {'EXPERT', 'ADMIN'}
CURATORS = {'CURATOR', 'ADMIN'}


def outcome(own=OK, club=OK, public=OK, foreign=OK, **roles):
    """By relation; roles: {relation: status} or one status, for who differs. An administrator may everything."""
    return {'own': own, 'club': club, 'public': public, 'foreign': foreign}, {'ADMIN': OK, **roles}


FREE = outcome()
READ = outcome(foreign=NOT_FOUND)
SAVE = outcome(club=FORBIDDEN, public=FORBIDDEN, foreign=ALREADY_EXISTS)  # an id that one may not see is just taken
CHANGE = outcome(club=FORBIDDEN, public=FORBIDDEN, foreign=NOT_FOUND)
MINE = outcome(club=FORBIDDEN, public=FORBIDDEN, foreign=FORBIDDEN)       # everybody may see that it is there
REFER = outcome(foreign=INVALID)                                         # a reference to what one may not see
ACCOUNT = outcome(SERVICE=FORBIDDEN)                                     # nothing is anybody's without an account

LINES = {}


def line(op, roles, expected=FREE, once=False):
    """once: the relation makes no difference."""
    def add(make):
        LINES[op] = (roles, expected, once, make)
        return make
    return add


class Scene:
    pass


class Thing:
    """One of everything, in one relation."""


def tree(world, title, **fields):
    made = world.tree(title, 2, 1, **fields)
    made['sequences'][0]['exercises'][0].update(criteria=[{'description': 'Huit sur dix'}],
                                                progressions=[{'skill': 'passe', 'current_level': 1, 'target_level': 3}])
    return made


def thing_make(admin, world, owner, relation, club):
    thing = Thing()
    shared = {'owner': owner, 'visibility': VISIBILITY[relation], **({'club': club} if relation == 'club' else {})}
    data = os.urandom(64)
    thing.owner, thing.blob, thing.blob_bytes = owner, hashlib.sha256(data).digest(), data
    upload(admin, data, commit=True)
    saved = admin.call('session.save', **tree(world, relation, cover=thing.blob, **shared))
    thing.session = saved.id
    kinds = {}
    for change in saved.changes:
        kinds.setdefault(change.kind, []).append(change.id)
    thing.sequences, thing.exercise = kinds[4], kinds[5][0]
    thing.objective, thing.variation, thing.criterion, thing.progression = (kinds[k][0] for k in (3, 6, 7, 8))
    thing.review = admin.call('session.save', **world.tree('A relire', 1, 1, **shared)).id
    thing.library = admin.call('exercise.put', exercise={
        'title': relation, 'description': 'Courir', 'owner': owner, 'visibility': VISIBILITY[relation]}).id
    thing.template = admin.call('template.save', template={
        'name': relation + os.urandom(3).hex(), 'kind': 1, 'sport': world.sport, 'level': world.level, 'age_category': 4,
        'status': 2, 'structure': {'sequences': [{'title': 'S', 'type': 2, 'duration': 10, 'objective': 'Jouer'}],
                                   'objectives': [{'description': 'But', 'objective_type': 1}]}, **shared}).id
    thing.club = admin.call('club.save', club={'name': 'Club', 'slug': 'c-' + os.urandom(5).hex()}).id
    if relation == 'own':
        admin.call('membership.set', club=thing.club, user=owner, role=3)
    return thing


def upload(client, data, commit=False):
    begun = client.call('blob.begin', hash=hashlib.sha256(data).digest(), size=len(data), media_type='image/png')
    client.call('blob.write', upload=begun.upload, offset=0, data=data)
    if commit:
        client.call('blob.commit', upload=begun.upload)
    return begun.upload


@pytest.fixture(scope='module')
def scene(daemon, world):
    s = Scene()
    with daemon.client() as admin:
        s.admin, s.world = admin, world
        s.club = admin.call('club.save', club={'name': 'Club', 'slug': 'club-' + world.mark}).id
        author = world.user(admin, 'author')
        admin.call('profile.save', profile={'user': author, 'username': 'author' + world.mark})
        admin.call('preferences.save', preferences={'user': author, 'theme': 1})
        s.things = {relation: thing_make(admin, world, author, relation, s.club) for relation in RELATIONS[1:]}
        s.strangers, s.members, s.own = {}, {}, {}
        for role in ACCOUNTS:
            s.strangers[role] = world.user(admin, 'm-' + role.lower(), role)
            s.members[role] = world.user(admin, 'm-member-' + role.lower(), role)
            admin.call('membership.set', club=s.club, user=s.members[role], role=1)
            admin.call('profile.save', profile={'user': s.strangers[role], 'username': f'{role.lower()}-{world.mark}'})
            s.own[role] = thing_make(admin, world, s.strangers[role], 'own', s.club)
        tokens = {role: admin.call('token.create', name=role, role=numbers.Role.Value('ROLE_' + role)) for role in TOKENS}
        s.token = tokens['AUDITOR'].id
        admin.call('snapshot.create', name='matrix')
        clients = {role: kapwire.Client(daemon.tcp, token=made.token) for role, made in tokens.items()}
        s.tokens, s.service = clients, kapwire.Client(daemon.tcp, token=tokens['SERVICE'].token)
        yield s
        for client in (*clients.values(), s.service):
            client.close()


# ---- connection

@line('ping', ALL, once=True)
def _(s, t, who, may): return {}


@line('cancel', ALL, once=True)
def _(s, t, who, may): return {'request_id': 10 ** 12}


@line('hello', ALL, once=True)
def _(s, t, who, may): return None  # every client here has said it


@line('credit', ALL, once=True)
def _(s, t, who, may): return None  # belongs to a stream: see blob.read


@line('goodbye', ALL, once=True)
def _(s, t, who, may): return None  # ends the connection


# ---- users and clubs

@line('user.create', {'ADMIN', 'SERVICE'}, once=True)
def _(s, t, who, may): return {'user': {'email': os.urandom(6).hex() + '@example.org'}}


@line('user.get', ROWS)
def _(s, t, who, may): return {'id': t.owner}  # it has a profile


@line('user.find', ROWS, outcome(club=NOT_FOUND, public=NOT_FOUND, foreign=NOT_FOUND, SERVICE=OK))
def _(s, t, who, may): return {'email': s.admin.call('user.get', id=t.owner).user.email}


@line('user.list', {'ADMIN', 'SERVICE'}, once=True)
def _(s, t, who, may): return {}


@line('profile.save', ROWS, MINE)
def _(s, t, who, may): return {'profile': {'user': t.owner, 'phone': os.urandom(3).hex()}}


@line('preferences.save', ROWS, outcome(club=ALREADY_EXISTS, public=ALREADY_EXISTS, foreign=ALREADY_EXISTS, SERVICE=FORBIDDEN))
def _(s, t, who, may): return {'preferences': {'user': t.owner, 'language': os.urandom(3).hex()}}


@line('club.save', COACHES, MINE)
def _(s, t, who, may): return {'club': {'sys': {'id': t.club}, 'city': os.urandom(3).hex()}}


@line('club.get', ROWS)
def _(s, t, who, may): return {'id': t.club}


@line('membership.set', COACHES, MINE)
def _(s, t, who, may): return {'club': t.club, 'user': s.world.coach, 'role': 1}


# ---- sessions and their parts

@line('session.save', COACHES, SAVE)
def _(s, t, who, may): return {'session': {'sys': {'id': t.session}, 'description': os.urandom(3).hex()}}


@line('session.graph', ROWS, READ)
def _(s, t, who, may): return {'id': t.session}


@line('session.get', ROWS, READ)
def _(s, t, who, may): return {'id': t.session}


@line('session.list', ROWS)
def _(s, t, who, may): return {'owner': t.owner}


@line('session.clone', COACHES, outcome(foreign=NOT_FOUND, SERVICE=INVALID))  # whose would it be?
def _(s, t, who, may): return {'id': t.session}


@line('session.delete', COACHES, CHANGE)
def _(s, t, who, may): return {'id': t.session, 'dry_run': True}


def part(name, field, value):
    @line(name + '.put', COACHES, SAVE)
    def _(s, t, who, may):
        row = getattr(t, name) if name != 'sequence' else t.sequences[0]
        return {name: {'sys': {'id': row}, field: value()}}


def words(): return os.urandom(4).hex()


part('sequence', 'title', words)
part('objective', 'description', words)
part('variation', 'title', words)
part('criterion', 'description', words)
part('progression', 'skill', words)


@line('row.delete', COACHES, CHANGE)
def _(s, t, who, may): return {'kind': SEQUENCE, 'id': t.sequences[0], 'dry_run': True}


@line('part.reorder', COACHES, CHANGE)
def _(s, t, who, may):
    rows = [r.row for r in s.admin.call('session.graph', id=t.session).rows if r.kind == SEQUENCE]
    found = sorted((kapwire.entities.Sequence.FromString(row) for row in rows), key=lambda q: -q.position)
    return {'relation': 1, 'parent': t.session, 'ids': [q.sys.id for q in found]}


# ---- library

# An exercise of the library has no club: the club's word means its owner alone.
@line('exercise.put', COACHES, outcome(club=ALREADY_EXISTS, public=FORBIDDEN, foreign=ALREADY_EXISTS))
def _(s, t, who, may): return {'exercise': {'sys': {'id': t.library}, 'title': words()}}


@line('exercise.get', ROWS, outcome(club=NOT_FOUND, foreign=NOT_FOUND))
def _(s, t, who, may): return {'id': t.library}


@line('exercise.list', ROWS, READ)
def _(s, t, who, may): return {'sequence': t.sequences[0]}


@line('template.save', COACHES, SAVE)
def _(s, t, who, may): return {'template': {'sys': {'id': t.template}, 'description': words()}}


@line('template.get', ROWS, READ)
def _(s, t, who, may): return {'id': t.template}


@line('template.list', ROWS)
def _(s, t, who, may): return {'owner': t.owner}


@line('template.instantiate', COACHES, outcome(foreign=NOT_FOUND, SERVICE={'public': INVALID, 'foreign': NOT_FOUND}))
def _(s, t, who, may): return {'id': t.template, 'session': {'participants_min': 2, 'participants_max': 4}}


@line('ref.list', ROWS, once=True)
def _(s, t, who, may): return {'kind': 27, 'ref_kind': 1}


@line('ref.put', CURATORS, once=True)
def _(s, t, who, may): return {'tag': {'name': words()}}


@line('ref.delete', CURATORS, once=True)
def _(s, t, who, may): return {'kind': 26, 'id': s.admin.call('ref.put', tag={'name': words()}).id, 'dry_run': True}


# ---- many at once, blobs

@line('txn.batch', ROWS, outcome(club=FORBIDDEN, public=FORBIDDEN, foreign=ALREADY_EXISTS, VIEWER=FORBIDDEN))
def _(s, t, who, may):
    save = kapwire.OPERATIONS['session.save'][1](session={'sys': {'id': t.session}, 'description': words()})
    return {'ops': [{'op': kapwire.OPERATIONS['session.save'][0], 'body': save.SerializeToString()}]}


@line('bulk.read', ROWS)  # what one may not see is among the missing
def _(s, t, who, may): return {'rows': [{'kind': SESSION, 'id': t.session}]}


@line('blob.begin', COACHES, once=True)
def _(s, t, who, may): return {'hash': os.urandom(32), 'size': 10}


@line('blob.write', COACHES, once=True)
def _(s, t, who, may):
    data = os.urandom(40)
    begun = who.call('blob.begin', hash=hashlib.sha256(data).digest(), size=len(data)) if may else None
    return {'upload': begun.upload if begun else new_id(), 'offset': 0, 'data': data}


@line('blob.commit', COACHES, once=True)
def _(s, t, who, may): return {'upload': upload(who, os.urandom(40)) if may else new_id()}


@line('blob.stat', ROWS, READ)
def _(s, t, who, may): return {'hash': t.blob}


@line('blob.read', ROWS, READ)
def _(s, t, who, may): return {'hash': t.blob}


# ---- reviews

def submitted(s, t):
    """A fresh round for the session to review; its validation."""
    state = s.admin.call('session.get', id=t.review).session.status
    if state == 2:
        s.admin.call('validation.withdraw', session=t.review)
    elif state != 1:
        s.admin.call('session.save', session={'sys': {'id': t.review}, 'status': 1})
    return s.admin.call('validation.submit', session=t.review).validation


@line('validation.submit', COACHES, CHANGE)
def _(s, t, who, may):
    submitted(s, t)
    s.admin.call('validation.withdraw', session=t.review)
    return {'session': t.review}


# A pending session is an expert's to read, not to take back.
@line('validation.withdraw', COACHES, outcome(club=FORBIDDEN, public=FORBIDDEN, foreign=NOT_FOUND, EXPERT={'foreign': FORBIDDEN}))
def _(s, t, who, may):
    submitted(s, t)
    return {'session': t.review}


@line('validation.queue', EXPERTS, once=True)
def _(s, t, who, may): return {}


@line('validation.claim', EXPERTS, outcome(own=FORBIDDEN, ADMIN={'own': FORBIDDEN}))
def _(s, t, who, may): return {'validation': submitted(s, t)}


@line('validation.decide', EXPERTS, outcome(own=STATE_CONFLICT, ADMIN={'own': STATE_CONFLICT}))
def _(s, t, who, may):
    validation = submitted(s, t)
    if may and t.owner != who.on_behalf_of:
        who.call('validation.claim', validation=validation)
    return {'validation': validation, 'decision': 3}


@line('validation.history', ROWS, READ)
def _(s, t, who, may): return {'session': t.session}


# ---- comments and the rest

@line('comment.put', ROWS, outcome(foreign=INVALID, SERVICE=INVALID))
def _(s, t, who, may): return {'comment': {'session': t.session, 'content': 'Bien'}}


@line('comment.list', ROWS, READ)
def _(s, t, who, may): return {'session': t.session}


@line('favorite.set', ROWS, outcome(foreign=INVALID, SERVICE=FORBIDDEN))
def _(s, t, who, may): return {'target_kind': SESSION, 'target': t.session}


@line('favorite.list', ROWS, ACCOUNT, once=True)
def _(s, t, who, may): return {}


@line('notification.list', ROWS, ACCOUNT, once=True)
def _(s, t, who, may): return {}


@line('notification.mark', ROWS, ACCOUNT, once=True)
def _(s, t, who, may): return {'all': True}


# ---- operators

@line('server.status', {'ADMIN', 'OPS', 'AUDITOR'}, once=True)
def _(s, t, who, may): return {}


@line('server.stats', {'ADMIN', 'OPS', 'AUDITOR'}, once=True)
def _(s, t, who, may): return {}


@line('compaction.run', {'ADMIN', 'OPS'}, once=True)
def _(s, t, who, may): return {'dry_run': True}


@line('snapshot.create', {'ADMIN', 'OPS'}, once=True)
def _(s, t, who, may): return {'name': 'x' + words()}


@line('snapshot.list', {'ADMIN', 'OPS', 'AUDITOR'}, once=True)
def _(s, t, who, may): return {}


@line('snapshot.delete', {'ADMIN', 'OPS'}, once=True)
def _(s, t, who, may): return {'name': 'matrix', 'dry_run': True}


@line('token.create', {'ADMIN'}, once=True)
def _(s, t, who, may): return {'name': 'x', 'role': numbers.ROLE_VIEWER}


@line('token.list', {'ADMIN'}, once=True)
def _(s, t, who, may): return {}


@line('token.revoke', {'ADMIN'}, once=True)
def _(s, t, who, may): return {'id': s.token, 'dry_run': True}


@line('dump.rows', {'ADMIN'}, once=True)
def _(s, t, who, may): return {'kind': SESSION}


@line('restore.rows', {'ADMIN'}, once=True)
def _(s, t, who, may): return {'dry_run': True}


def expectation(op, role, relation):
    roles, (by_relation, by_role), _, _ = LINES[op]
    if role not in roles:
        return FORBIDDEN
    special = by_role.get(role)
    if isinstance(special, dict):
        special = special.get(relation, OK if role == 'ADMIN' else None)
    return by_relation[relation] if special is None else special


def name_of(op):
    return op if '.' in op else 'connection.' + op


def cell(s, op, role, relation, who):
    roles, _, _, make = LINES[op]
    thing = s.own[role] if relation == 'own' else s.things[relation]
    fields = make(s, thing, who, role in roles)
    if fields is None:
        return None
    try:
        who.call(name_of(op), **fields)
        return OK
    except kapwire.Refused as refused:
        return refused.status


def test_every_operation_has_a_line():
    known = {name.removeprefix('connection.') for name in kapwire.OPERATIONS}
    assert known == set(LINES)


@pytest.mark.parametrize('op', sorted(LINES))
def test_cells(scene, op):
    wrong = []
    once = LINES[op][2]
    for role in (*ACCOUNTS, *TOKENS):
        for relation in ('foreign',) if once else RELATIONS if role in ACCOUNTS else ('public', 'foreign'):
            if role in ACCOUNTS:
                who = scene.service
                who.on_behalf_of = (scene.members if relation == 'club' else scene.strangers)[role]
            else:
                who = scene.tokens[role]
            found, wanted = cell(scene, op, role, relation, who), expectation(op, role, relation)
            if found is not None and found != wanted:
                wrong.append(f'{role} {relation}: {found}, not {wanted}')
    assert not wrong, '\n'.join(wrong)
