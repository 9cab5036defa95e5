#!/usr/bin/env python3
"""Turns protoc's descriptor set, with the options of pons/options.proto, into the codec's tables.

Usage: codec_tables.py DESCRIPTOR_SET OUTPUT.c OUTPUT.h FILE.proto…

protobuf-c's own descriptors drop custom options; this keeps them, as `struct codec_message` tables
(src/text/codec.h) beside the generated messages.
"""
import re
import sys

from google.protobuf import descriptor_pb2

INITIALISMS = {"id", "ttl", "http", "tcp", "udp", "grpc", "tls", "sni", "uri", "dns", "ca", "acl", "ip"}
EMPTY = ["", "CODEC_OMIT", "CODEC_SHOW", "CODEC_NIL"]
FORMAT = ["CODEC_PLAIN", "CODEC_DURATION", "CODEC_NANOSECONDS", "CODEC_RAW_JSON", "CODEC_TIME", "CODEC_SECRET",
          "CODEC_UNSEEN", "CODEC_HUNDREDTHS"]
OPT_EMPTY, OPT_FORMAT, OPT_ALIAS, OPT_INLINED = 50001, 50002, 50003, 50004
OPT_EMPTIES, OPT_BARE, OPT_SNAKE = 50001, 50002, 50003
Field = descriptor_pb2.FieldDescriptorProto
KNOWN_TYPES = {Field.TYPE_STRING, Field.TYPE_BOOL, Field.TYPE_INT32, Field.TYPE_INT64, Field.TYPE_UINT32,
               Field.TYPE_UINT64, Field.TYPE_ENUM, Field.TYPE_MESSAGE}


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def custom_options(options):
    """The extension fields of an options message, by number: varints and strings only."""
    data, at, found = options.SerializeToString(), 0, {}
    while at < len(data):
        tag, at = varint(data, at)
        number, wire = tag >> 3, tag & 7
        if wire == 0:
            value, at = varint(data, at)
        elif wire == 2:
            length, at = varint(data, at)
            value = data[at:at + length]
            at += length
        else:
            raise SystemExit(f"codec_tables.py: option {number} has wire type {wire}")
        found.setdefault(number, []).append(value)
    return found


def spelling(field):
    default = re.sub(r"_(\w)", lambda m: m.group(1).upper(), field.name)
    if field.json_name and field.json_name != default:
        return field.json_name
    return "".join(w.upper() if w in INITIALISMS else w[:1].upper() + w[1:] for w in field.name.split("_"))


def c_words(name):
    """protobuf-c's lower-case form of a message name: NodeService -> node_service."""
    out = ""
    upper = True
    for c in name:
        if c.isupper():
            out += ("" if upper else "_") + c.lower()
            upper = True
        else:
            out += c
            upper = False
    return out


def c_package(file):
    """Value of (pb_c_file).c_package, else the package's own words."""
    for value in custom_options(file.options).get(1019, []):
        at = 0
        while at < len(value):
            tag, at = varint(value, at)
            if tag & 7 == 2:
                length, at = varint(value, at)
                if tag >> 3 == 6:
                    return value[at:at + length].decode()
                at += length
            else:
                _, at = varint(value, at)
    return file.package


def main():
    descriptor_set, out_c, out_h, *wanted = sys.argv[1:]
    files = descriptor_pb2.FileDescriptorSet()
    with open(descriptor_set, "rb") as source:
        files.ParseFromString(source.read())
    messages, owner = {}, {}

    def collect(file, prefix, c_prefix, message):
        full = f"{prefix}.{message.name}"
        c_name = f"{c_prefix}__{c_words(message.name)}"
        messages[full] = (message, c_name)
        owner[full] = file
        for nested in message.nested_type:
            collect(file, full, c_name, nested)

    for file in files.file:
        words = "__".join(c_words(p) for p in c_package(file).split("."))
        for message in file.message_type:
            collect(file, f".{file.package}", words, message)

    tables, names = [], []
    for full, (message, c_name) in messages.items():
        if owner[full].name not in wanted or message.options.map_entry:
            continue
        own_options = custom_options(message.options)
        own = own_options.get(OPT_EMPTIES, [1])[0]
        bare = OPT_BARE in own_options
        snake = OPT_SNAKE in own_options
        if bare and [f.label for f in message.field] != [Field.LABEL_REPEATED]:
            raise SystemExit(f"codec_tables.py: {full} is bare, so it must have one field, a list")
        indexes = {f.number: i for i, f in enumerate(sorted(message.field, key=lambda f: f.number))}
        rows, extra = [], []
        for field in message.field:
            options = custom_options(field.options)
            if field.type not in KNOWN_TYPES:
                raise SystemExit(f"codec_tables.py: the codec has no form for the type of {full}.{field.name}")
            empty = options.get(OPT_EMPTY, [0])[0] or own
            form = options.get(OPT_FORMAT, [0])[0]
            if form == 6:
                continue
            if form == 4 and OPT_EMPTY not in options:
                empty = 3 if own != 1 else 1
            aliases = [a.decode() for a in options.get(OPT_ALIAS, [])]
            if aliases:
                listed = ", ".join(f'"{a}"' for a in aliases)
                extra.append(f"static const char *const {c_name}_{field.name}_aliases[] = {{{listed}, NULL}};")
            is_map, target = False, "NULL"
            if field.type == Field.TYPE_MESSAGE:
                sub, sub_c = messages[field.type_name]
                target = f"&{sub_c}__codec"
                if sub.options.map_entry:
                    is_map = True
                    value = next(f for f in sub.field if f.number == 2)
                    target = f"&{messages[value.type_name][1]}__codec" if value.type == Field.TYPE_MESSAGE else "NULL"
            rows.append(
                f'    {{"{field.name if snake else spelling(field)}", "{field.name}", '
                f'{c_name + "_" + field.name + "_aliases" if aliases else "NULL"}, {indexes[field.number]}, '
                f'{EMPTY[empty]}, {FORMAT[form]}, {"true" if OPT_INLINED in options else "false"}, '
                f'{"true" if is_map else "false"}, {target}}},')
        names.append(c_name)
        body = "\n".join(rows)
        fields = f"{c_name}_codec_fields" if rows else "NULL"
        table = "\n".join(extra) + ("\n" if extra else "")
        if rows:
            table += f"static const struct codec_field {fields}[] = {{\n{body}\n}};\n"
        table += (f"const struct codec_message {c_name}__codec = {{&{c_name}__descriptor, {len(rows)}, {fields}, "
                  f"{'true' if bare else 'false'}}};\n")
        tables.append(table)

    with open(out_h, "w") as header:
        header.write("/* Made by tools/codec_tables.py. */\n#pragma once\n\n#include \"text/codec.h\"\n\n")
        for name in wanted:
            header.write(f"#include \"{name[:-6]}.pb-c.h\"\n")
        header.write("\n" + "".join(f"extern const struct codec_message {n}__codec;\n" for n in names))
    with open(out_c, "w") as source:
        source.write("/* Made by tools/codec_tables.py. */\n#include \"proto/codec_tables.h\"\n\n" + "\n".join(tables))


main()
