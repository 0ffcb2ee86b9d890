import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { defineConfig, type Plugin } from 'vite';

const web = import.meta.dirname;
const dist = join(web, '../dist');

/** The hash of all sources: a test of the crate compares it, and so tells when `dist` is old. */
function hashOfSources(): string {
  const sha256 = (bytes: string | Buffer) => createHash('sha256').update(bytes).digest('hex');
  const lines: string[] = [];
  const look = (folder: string) => {
    for (const entry of readdirSync(folder, { withFileTypes: true })) {
      const path = join(folder, entry.name);
      if (entry.name === 'node_modules') continue;
      if (entry.isDirectory()) look(path);
      else lines.push(`${relative(web, path)} ${sha256(readFileSync(path))}\n`);
    }
  };
  look(web);
  const byBytes = (a: string, b: string) => Buffer.compare(Buffer.from(a), Buffer.from(b));
  return sha256(lines.sort(byBytes).join(''));
}

const stamp: Plugin = {
  name: 'sources',
  writeBundle() {
    writeFileSync(join(dist, 'sources.sha256'), `${hashOfSources()}\n`);
  },
};

export default defineConfig({
  root: web,
  build: {
    outDir: dist,
    emptyOutDir: true,
    target: 'es2022',
    modulePreload: { polyfill: false },
    assetsInlineLimit: 0,
    rollupOptions: {
      output: {
        // Names that do not change keep the history of `dist` short.
        entryFileNames: 'assets/page.js',
        chunkFileNames: 'assets/[name].js',
        assetFileNames: 'assets/[name][extname]',
      },
    },
  },
  plugins: [stamp],
});
