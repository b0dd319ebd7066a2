// Rendered in the browser: the daemon only serves static files.
export const ssr = false;
export const prerender = false;
