"""Writes what an image is made of as CycloneDX 1.6: Debian packages, and what was copied in beside them."""

import hashlib
import json
import os
import pathlib
import re
import subprocess
import urllib.parse
import uuid
from datetime import datetime, timezone

TARGET = pathlib.Path('/usr/share/switchyard/sbom.json')
ROOT = pathlib.Path('/usr/local/lib/switchyard')


def licences(package: str) -> list[dict]:
    """The names a machine-readable copyright file gives; nothing where there is none."""
    try:
        text = pathlib.Path(f'/usr/share/doc/{package}/copyright').read_text(errors='replace')
    except OSError:
        return []
    names = sorted({name.strip() for name in re.findall(r'^License:[ \t]*(\S[^\n]{0,80})$', text, re.M)})
    return [{'license': {'name': name}} for name in names[:40]]


def debian() -> list[dict]:
    fields = '${binary:Package}\t${Version}\t${Architecture}\t${source:Package}\t${db:Status-Status}\n'
    listed = subprocess.run(['dpkg-query', '-W', '-f', fields], check=True, capture_output=True, text=True).stdout
    found = []
    for line in sorted(listed.splitlines()):
        binary, version, architecture, source, status = line.split('\t')
        if status != 'installed':
            continue
        name = binary.split(':')[0]
        purl = f'pkg:deb/debian/{name}@{urllib.parse.quote(version, safe="")}?arch={architecture}&distro=bookworm'
        part = {'type': 'library', 'bom-ref': purl, 'name': name, 'version': version, 'purl': purl}
        names = licences(name)
        if names:
            part['licenses'] = names
        part['properties'] = [{'name': 'debian:source', 'value': source}]
        found.append(part)
    return found


def program(path: str, name: str, version: str, purl: str, licence: str) -> list[dict]:
    file = pathlib.Path(path)
    if not file.is_file():
        return []
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    part = {'type': 'application', 'bom-ref': purl, 'name': name, 'version': version, 'purl': purl}
    part['hashes'] = [{'alg': 'SHA-256', 'content': digest}]
    part['licenses'] = [{'license': {'id': licence}}]
    return [part]


def node() -> list[dict]:
    path = '/usr/local/bin/node'
    if not os.path.exists(path):
        return []
    version = subprocess.run([path, '--version'], check=True, capture_output=True, text=True).stdout.strip()[1:]
    return program(path, 'node', version, f'pkg:generic/node@{version}', 'MIT')


def packages() -> list[dict]:
    """What was taken from npm: each folder below the driver's node_modules."""
    found = []
    for manifest in sorted(ROOT.glob('browser/node_modules/*/package.json')):
        about = json.loads(manifest.read_text())
        purl = f'pkg:npm/{about["name"]}@{about["version"]}'
        part = {'type': 'library', 'bom-ref': purl, 'name': about['name'], 'version': about['version'], 'purl': purl}
        part['licenses'] = [{'license': {'id': about['license']}}]
        found.append(part)
    return found


def main() -> None:
    toolbox = program('/usr/local/bin/toolbox', 'switchyard-toolbox', '1', 'pkg:generic/switchyard-toolbox', 'MIT')
    parts = debian() + node() + packages() + toolbox
    made = datetime.fromtimestamp(int(os.environ['SOURCE_DATE_EPOCH']), timezone.utc)
    body = json.dumps(parts, sort_keys=True)
    bill = {
        'bomFormat': 'CycloneDX',
        'specVersion': '1.6',
        # From the content, so that the same image has the same number.
        'serialNumber': f'urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, hashlib.sha256(body.encode()).hexdigest())}',
        'version': 1,
        'metadata': {
            'timestamp': made.strftime('%Y-%m-%dT%H:%M:%SZ'),
            'component': {'type': 'container', 'bom-ref': 'image', 'name': 'switchyard-sandbox'},
        },
        'components': parts,
    }
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    TARGET.write_text(json.dumps(bill, indent=1) + '\n')
    os.chmod(TARGET, 0o644)


main()
