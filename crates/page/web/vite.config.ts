import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { defineConfig, type Plugin, transformWithOxc } from 'vite';

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

/** The script that asks first. It isn't a module: a browser runs modules only after it has read the document. */
const ask: Plugin = {
  name: 'ask',
  transformIndexHtml: {
    order: 'post',
    handler: () => [{ tag: 'script', attrs: { src: '/assets/ask.js' }, injectTo: 'head-prepend' }],
  },
  async generateBundle() {
    const path = join(web, 'src/ask.ts');
    const { code } = await transformWithOxc(readFileSync(path, 'utf8'), path);
    this.emitFile({ type: 'asset', fileName: 'assets/ask.js', source: code });
  },
};

/** Modules that the first view needs: the entry imports them, and not only once that view is there. */
const first = new Set<string>();

interface Modules {
  getModuleInfo(id: string): { importedIds: string[] } | null;
}

function isFirst(id: string, modules: Modules): boolean {
  const look = (id: string) => {
    if (first.has(id)) return;
    first.add(id);
    for (const imported of modules.getModuleInfo(id)?.importedIds ?? []) look(imported);
  };
  look(join(web, 'src/main.tsx'));
  return first.has(id);
}

export default defineConfig({
  root: web,
  build: {
    outDir: dist,
    emptyOutDir: true,
    target: 'es2022',
    modulePreload: false,
    assetsInlineLimit: 0,
    rollupOptions: {
      output: {
        // Names that do not change keep the history of `dist` short.
        entryFileNames: 'assets/[name].js',
        chunkFileNames: 'assets/[name].js',
        assetFileNames: 'assets/[name][extname]',
        // What the first view needs is one file: each further one is another request to wait for.
        codeSplitting: {
          groups: [{ debugName: 'first view', name: (id, modules) => (isFirst(id, modules) ? 'page' : null) }],
        },
      },
    },
  },
  plugins: [ask, stamp],
});
