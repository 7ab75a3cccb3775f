// Loaded into a Node.js server that is tried: notes, a line each, which
// environment variables it reads by name and which files below its HOME it opens.
'use strict';
const fs = require('node:fs');
const path = require('node:path');

const real = process.env;
const home = real.HOME + path.sep;
const write = fs.appendFileSync;
const seen = new Set();
const note = (kind, name) => {
  const line = `${kind} ${name}\n`;
  if (seen.has(line) || /[\r\n]/.test(name)) return;
  seen.add(line);
  try { write(home + '.lanyard-notes', line); } catch { /* the server must not notice */ }
};

// Whoever copies the whole environment asks for each variable's descriptor before
// its value: that is no interest in that one.
let copied;
process.env = new Proxy(real, {
  get(target, name) {
    if (typeof name === 'string' && name !== copied) note('variable', name);
    copied = undefined;
    return target[name];
  },
  getOwnPropertyDescriptor(target, name) {
    copied = name;
    return Reflect.getOwnPropertyDescriptor(target, name);
  },
});

const opened = (file) => {
  const name = file instanceof URL ? file.pathname : String(file);
  if (path.resolve(name).startsWith(home)) note('file', path.resolve(name).slice(home.length));
};
for (const [where, names] of [[fs, ['open', 'openSync', 'readFile', 'readFileSync', 'createReadStream']], [fs.promises, ['open', 'readFile']]]) {
  for (const name of names) {
    const call = where[name];
    where[name] = function noted(file, ...rest) {
      if (typeof file !== 'number') opened(file);
      return call.call(this, file, ...rest);
    };
  }
}
require('node:module').syncBuiltinESMExports();
