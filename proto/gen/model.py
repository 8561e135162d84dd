"""The descriptor set as plain objects: messages, fields, enums, services, with our options beside them."""

import os
import re
import subprocess
import sys
import tempfile

from google.protobuf import descriptor_pb2

FD = descriptor_pb2.FieldDescriptorProto
C_PREFIX = 'kap_'


class GenError(Exception):
    """A rule of the schema is broken; the text says which and where."""


def snake(name):
    """SessionSaveRequest -> session_save_request"""
    return re.sub(r'(?<=[a-z0-9])(?=[A-Z])', '_', name).lower()


class Enum:
    def __init__(self, proto, file_name, outer=''):
        self.name = outer + proto.name
        self.file = file_name
        self.snake = snake(proto.name)
        self.c_name = C_PREFIX + self.snake
        prefix = self.snake.upper() + '_'
        self.prefix = 'INDEX_' if proto.name == 'IndexId' else 'UNIQUE_' if proto.name == 'UniqueId' else prefix
        self.values = []  # (number, full name, short name)
        for value in proto.value:
            if not value.name.startswith(self.prefix):
                raise GenError(f'enum {proto.name}: value {value.name} must begin with {self.prefix}')
            short = value.name[len(self.prefix):].lower()
            if proto.name == 'Op':  # as people call it: session.save
                short = short.replace('_', '.', 1)
            self.values.append((value.number, value.name, short))
        self.proto = proto

    def short(self, number):
        return next((s for n, _, s in self.values if n == number), None)


class Field:
    def __init__(self, proto, rules):
        self.name = proto.name
        self.number = proto.number
        self.proto = proto
        self.rules = rules
        self.repeated = proto.label == FD.LABEL_REPEATED
        self.optional = proto.proto3_optional
        self.type_name = proto.type_name.lstrip('.').split('.', 1)[-1] if proto.type_name else None
        self.message = None  # Message, once linked
        self.enum = None

    @property
    def is_id(self):
        return self.rules.id

    def type_constant(self):
        table = {
            FD.TYPE_BOOL: 'BOOL', FD.TYPE_UINT32: 'UINT32', FD.TYPE_UINT64: 'UINT64', FD.TYPE_INT32: 'INT32',
            FD.TYPE_INT64: 'INT64', FD.TYPE_SINT32: 'SINT32', FD.TYPE_SINT64: 'SINT64', FD.TYPE_FIXED64: 'FIXED64',
            FD.TYPE_SFIXED64: 'SFIXED64', FD.TYPE_DOUBLE: 'DOUBLE', FD.TYPE_ENUM: 'ENUM', FD.TYPE_STRING: 'STRING',
            FD.TYPE_BYTES: 'BYTES', FD.TYPE_MESSAGE: 'MESSAGE',
        }
        if self.proto.type == FD.TYPE_BYTES and self.is_id:
            return 'ID'
        if self.proto.type not in table:
            raise GenError(f'field {self.name}: type {FD.Type.Name(self.proto.type)} is not one that kap speaks')
        return table[self.proto.type]

    def c_type(self):
        kind = self.type_constant()
        if kind == 'MESSAGE':
            return f'struct {self.message.c_name}'
        return {
            'BOOL': 'bool', 'UINT32': 'uint32_t', 'UINT64': 'uint64_t', 'INT32': 'int32_t', 'INT64': 'int64_t',
            'SINT32': 'int32_t', 'SINT64': 'int64_t', 'FIXED64': 'uint64_t', 'SFIXED64': 'int64_t', 'DOUBLE': 'double',
            'ENUM': 'int32_t', 'STRING': 'struct kap_bytes', 'BYTES': 'struct kap_bytes', 'ID': 'struct kap_id',
        }[kind]


class Message:
    def __init__(self, proto, file_name, options):
        self.name = proto.name
        self.file = file_name
        self.snake = snake(proto.name)
        self.c_name = C_PREFIX + self.snake
        self.proto = proto
        has = proto.options.HasExtension
        self.entity = proto.options.Extensions[options.entity] if has(options.entity) else None
        self.record = has(options.record)
        self.fields = [Field(f, f.options.Extensions[options.field]) for f in proto.field]
        self.fields.sort(key=lambda f: f.number)
        self.by_number = {f.number: f for f in self.fields}

        # Fields that this schema does not know survive in rows, in records and in what they hold; Sys has a fixed size.
        self.stored = self.record or self.entity is not None


class Method:
    def __init__(self, proto, service, request, reply, options):
        self.service = service
        self.name = proto.name
        self.request = request
        self.reply = reply
        self.options = options


class Schema:
    """Everything the checks and the emitters need."""

    def __init__(self, file_set, options):
        self.options = options
        self.set = file_set
        self.messages = []  # in the order of their declaration
        self.enums = []
        self.methods = []
        self.files = [f for f in file_set.file if f.package == 'kap' and not f.name.endswith('options.proto')]
        self.comments = {}
        for file in self.files:
            self.enums += [Enum(e, file.name) for e in file.enum_type]
            for message in file.message_type:
                if message.enum_type or message.nested_type:
                    raise GenError(f'{message.name}: nested types are not used here; declare them at the top')
                self.messages.append(Message(message, file.name, options))
            self._comments_of(file)
        self.message_of = {m.name: m for m in self.messages}
        self.enum_of = {e.name: e for e in self.enums}
        for message in self.messages:
            for field in message.fields:
                if field.proto.type == FD.TYPE_MESSAGE:
                    field.message = self.message_of[field.type_name]
                elif field.proto.type == FD.TYPE_ENUM:
                    field.enum = self.enum_of[field.type_name]
        for message in [m for m in self.messages if m.stored]:
            self._mark_stored(message)
        for file in self.files:
            for service in file.service:
                for method in service.method:
                    request = (method.options.Extensions[options.request]
                               if method.options.HasExtension(options.request) else None)
                    self.methods.append(Method(
                        method, service.name, self.message_of[method.input_type.split('.')[-1]],
                        self.message_of[method.output_type.split('.')[-1]], request))
        self.entities = sorted((m for m in self.messages if m.entity), key=lambda m: m.entity.kind)
        self.entity_of_kind = {m.entity.kind: m for m in self.entities}

    def _mark_stored(self, message):
        for field in message.fields:
            if field.message and field.message.name != 'Sys' and not field.message.stored:
                field.message.stored = True
                self._mark_stored(field.message)

    def _comments_of(self, file):
        for location in file.source_code_info.location:
            text = (location.leading_comments or location.trailing_comments).strip()
            if text:
                self.comments[(file.name, tuple(location.path))] = re.sub(r'\s*\n\s*', ' ', text)

    def comment(self, message, field=None):
        file = next(f for f in self.files if f.name == message.file)
        path = [4, [m.name for m in file.message_type].index(message.name)]
        if field is not None:
            path += [2, [f.name for f in message.proto.field].index(field.name)]
        return self.comments.get((message.file, tuple(path)), '')

    def kind_name(self, kind):
        return self.enum_of['Kind'].short(kind)

    def op_name(self, op):
        return self.enum_of['Op'].short(op)

    def indexes(self):
        """[(index id, [(message, Index option)])] ascending."""
        found = {}
        for message in self.entities:
            for index in message.entity.index:
                found.setdefault(index.id, []).append((message, index))
        return sorted(found.items())

    def uniques(self):
        return sorted(((u.id, m, u) for m in self.entities for u in m.entity.unique), key=lambda t: t[0])

    def stripped_set(self):
        """The descriptor set without comments, serialized: what the store's manifest keeps."""
        copy = descriptor_pb2.FileDescriptorSet()
        copy.CopyFrom(self.set)
        for file in copy.file:
            file.ClearField('source_code_info')
        return copy.SerializeToString(deterministic=True)

    def plain_files(self):
        """Our files without comments."""
        copies = []
        for file in self.set.file:
            if file.package == 'kap':
                copy = descriptor_pb2.FileDescriptorProto()
                copy.CopyFrom(file)
                copy.ClearField('source_code_info')
                copies.append(copy)
        return copies


def load(protoc, proto_dir):
    """Runs protoc and returns a Schema."""
    files = sorted('kap/' + name for name in os.listdir(os.path.join(proto_dir, 'kap')) if name.endswith('.proto'))
    with tempfile.TemporaryDirectory() as work:
        out = os.path.join(work, 'set.pb')
        run = subprocess.run(
            [protoc, f'-I{proto_dir}', '--include_imports', '--include_source_info', f'--descriptor_set_out={out}',
             f'--python_out={work}', *files], capture_output=True, text=True, check=False)
        if run.returncode != 0:
            raise GenError('protoc: ' + run.stderr.strip())
        sys.path.insert(0, work)
        try:
            from kap import options_pb2 as options  # makes our extensions known before the set is read
        finally:
            sys.path.remove(work)
        file_set = descriptor_pb2.FileDescriptorSet()
        with open(out, 'rb') as handle:
            file_set.ParseFromString(handle.read())
    return Schema(file_set, options)
