// Drawn by the browser: the daemon serves files and nothing else.
export const ssr = false;
export const prerender = false;
