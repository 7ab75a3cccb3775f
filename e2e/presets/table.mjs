// The presets as text, and docs/servers.md: what a run has seen of each.

import { readFile, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

const root = new URL('../../', import.meta.url);

// readPreset is what the test needs of a shipped preset, whose style is known.
export async function readPreset(name) {
  const text = await readFile(new URL(`presets/servers/${name}.yaml`, root), 'utf8');
  const field = (key) => new RegExp(`^ *${key}: *"?([^"\\n#]+?)"?(?: +#.*)?$`, 'm').exec(text)?.[1];
  const block = (key) => new RegExp(`^${key}:\\n((?: +.*\\n)+)`, 'm').exec(text)?.[1] ?? '';
  return {
    displayName: field('display_name'), authType: field('auth_type'), provider: field('oauth_service'), rotation: field('rotation'),
    registry: field('registry'), package: field('package'), version: field('version'),
    scopes: [...block('oauth_scopes').matchAll(/\bscope: "?([^\s",}]+)/g)].map((m) => m[1]),
    gives: [
      ...[...block('oauth_to_env_mapping').matchAll(/^ +\S+: (\w+)$/gm), ...block('env').matchAll(/^ +(\w+): /gm)].map((m) => m[1]).sort(),
      ...[...block('credential_files').matchAll(/^ {2}([a-z]\w*):/gm)].map((m) => `credential_files.${m[1]}`),
    ],
    envValues: [...block('env_values').matchAll(/\bname: (\w+)/g)].map((m) => m[1]),
  };
}

// licenceOf reads what an installed package says of itself.
export async function licenceOf(packages, name, preset) {
  const dir = join(packages, (await readdir(packages)).find((d) => d.startsWith(`${name}-${preset.version}-`)));
  if (preset.registry === 'npm') return JSON.parse(await readFile(join(dir, 'node_modules', preset.package, 'package.json'), 'utf8')).license;
  const lib = join(dir, 'lib');
  const site = join(lib, (await readdir(lib)).find((d) => d.startsWith('python3')), 'site-packages');
  const info = (await readdir(site)).find((d) => d.toLowerCase().startsWith(`${preset.package.replaceAll('-', '_')}-${preset.version}.dist-info`));
  const metadata = await readFile(join(site, info, 'METADATA'), 'utf8');
  const said = /^License(?:-Expression)?: (.+)$/m.exec(metadata)?.[1] ?? /^Classifier: License :: OSI Approved :: (.+)$/m.exec(metadata)?.[1] ?? '';
  if (said) return said.replace(/ License$/, '');
  // The first line of the text itself, where it says nothing else.
  const text = await readFile(join(site, info, 'licenses', 'LICENSE'), 'utf8');
  return text.trim().split('\n')[0].replace(/ License$/, '');
}

const counted = (n) => n > 0 && `${n} ${n === 1 ? 'file' : 'files'}`;

// writeTable replaces the table of docs/servers.md: a row for each of the names, of
// this run or, where it left one out, the one that is there.
export async function writeTable(names, presets, seen) {
  const file = new URL('docs/servers.md', root);
  const text = await readFile(file, 'utf8');
  const rows = names.map((name) => {
    if (!seen[name]) {
      const [, there] = new RegExp(`^\\| (${name} \\| .*) \\|$`, 'm').exec(text) ?? [];
      if (!there) throw new Error(`docs/servers.md has no row of ${name} yet: this run has to have it`);
      return there;
    }
    const { tried, licence, version, proven } = seen[name];
    const p = presets[name];
    const isFile = (r) => r.startsWith('credential_files.');
    // What a program of our own reads is not noted.
    const read = tried.observed ? tried.read : p.gives;
    const reads = [...read.filter((r) => !isFile(r)), ...tried.unread.filter((r) => !isFile(r)).map((r) => `(${r})`)].join(', ');
    const files = read.filter(isFile).length;
    const unread = tried.unread.filter(isFile).length;
    const program = p.package ? [p.package, p.version, licence] : ['part of Lanyard', version, 'Lanyard’s'];
    return [
      name, ...program, [reads, counted(files), unread > 0 && `(${counted(unread)})`].filter(Boolean).join('; '),
      p.rotation ?? '–', tried.tools.length, `${(tried.start_ms / 1000).toFixed(1)} s`, `${tried.memory_mb} MB`, proven,
    ].join(' | ');
  });
  const head = ['Server', 'Package', 'Version', 'Licence', 'Is given', 'Rotation', 'Tools', 'Starts in', 'Memory', 'Proven'];
  const table = [`| ${head.join(' | ')} |`, `|${' --- |'.repeat(head.length)}`, ...rows.map((r) => `| ${r} |`)].join('\n');
  await writeFile(file, text.replace(/(<!-- the table -->\n)[^]*(<!-- its end -->)/, (_, from, to) => `${from}${table}\n${to}`));
}
