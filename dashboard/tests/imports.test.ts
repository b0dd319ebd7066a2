import { expect, test } from 'vitest';

const ROOT = '../src/lib/';
const SOURCES = new Map(
  Object.entries(
    import.meta.glob<string>('../src/lib/**/*.{ts,svelte}', {
      query: '?raw',
      import: 'default',
      eager: true,
    }),
  ).map(([path, text]) => [path.replace(ROOT, ''), text]),
);

/** The files of the library that a file imports, relative to src/lib. */
function importsOf(file: string, text: string): string[] {
  const specifiers = text.matchAll(/^\s*(?:import|export|\})[^'\n]*'(\.[^']+)'/gm);
  return [...specifiers].flatMap(([, specifier = '']) => {
    const path = new URL(specifier, `file:///${file}`).pathname.slice(1);
    return [path, `${path}.ts`].find((one) => SOURCES.has(one)) ?? [];
  });
}

const GRAPH = new Map([...SOURCES].map(([file, text]) => [file, importsOf(file, text)]));

/** The first import cycle, or null. */
function findCycle(graph: ReadonlyMap<string, readonly string[]>): string[] | null {
  const done = new Set<string>();
  function visit(file: string, path: string[]): string[] | null {
    if (path.includes(file)) return [...path.slice(path.indexOf(file)), file];
    if (done.has(file)) return null;
    for (const target of graph.get(file) ?? []) {
      const cycle = visit(target, [...path, file]);
      if (cycle) return cycle;
    }
    done.add(file);
    return null;
  }
  for (const file of graph.keys()) {
    const cycle = visit(file, []);
    if (cycle) return cycle;
  }
  return null;
}

/** The imports from files in `from` to files outside of `allowed`. */
function forbiddenImports(from: string, allowed: readonly string[]): string[] {
  return [...GRAPH]
    .filter(([file]) => file.startsWith(from))
    .flatMap(([file, targets]) => targets.map((target) => [file, target] as const))
    .filter(([, target]) => !allowed.some((one) => target.startsWith(one)))
    .map(([file, target]) => `${file} imports ${target}`);
}

test('the import graph is complete and has no cycle', () => {
  expect(GRAPH.get('api/alerts.ts')).toEqual(['api/http.ts']);
  expect(GRAPH.get('ui/kit/NumberField.svelte')).toEqual(['ui/kit/Field.svelte']);
  expect(findCycle(new Map(Object.entries({ a: ['b'], b: ['c'], c: ['b'] })))).toEqual([
    'b',
    'c',
    'b',
  ]);
  expect(findCycle(GRAPH)).toBeNull();
});

test('the API client imports no screen state, and the layers below the UI import no UI', () => {
  expect(forbiddenImports('api/', ['api/'])).toEqual([]);
  expect(forbiddenImports('live/', ['live/'])).toEqual([]);
  expect(forbiddenImports('util/', ['util/', 'api/'])).toEqual([]);
  expect(forbiddenImports('metrics/', ['metrics/', 'api/', 'live/', 'util/'])).toEqual([]);
  expect(forbiddenImports('alerts/', ['alerts/', 'metrics/', 'api/', 'live/', 'util/'])).toEqual(
    [],
  );
  expect(forbiddenImports('ui/kit/', ['ui/kit/', 'util/'])).toEqual([]);
});
