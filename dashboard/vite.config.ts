import adapter from '@sveltejs/adapter-static';
import { sveltekit } from '@sveltejs/kit/vite';
import { svelteTesting } from '@testing-library/svelte/vite';
import { loadEnv } from 'vite';
import { defineConfig } from 'vitest/config';

const built = '../meshmetrics/_dashboard';
/** The daemon that `vite dev` forwards to; `make dev` sets it. */
const daemon = loadEnv('', '.', 'DAEMON_').DAEMON_URL ?? 'http://127.0.0.1:8787';

export default defineConfig({
  plugins: [
    sveltekit({
      // One HTML file for all URLs: the daemon serves it, the browser renders it.
      adapter: adapter({ pages: built, assets: built, fallback: 'index.html', precompress: true }),
      compilerOptions: { runes: true },
    }),
    svelteTesting(),
  ],
  server: {
    proxy: { '/api': daemon, '/dashboard.json': daemon },
    fs: { allow: ['../docs'] }, // tests read the OpenAPI document
  },
  build: { target: 'es2022' },
  test: {
    environment: 'jsdom',
    include: ['tests/**/*.test.ts'],
    setupFiles: ['tests/setup.ts'],
    restoreMocks: true,
    pool: 'vmThreads', // creates jsdom once, not once per file
  },
});
