/** What another application mounts: see docs/embedding.md. */
export { MetricsClient, ApiError } from './api/client';
export { supabaseChannels, type Connect } from './live/channel';
export { sessionOf, type Session } from './session';
export { readFilters, writeFilters, type Filters } from './state/filters';
export { Metrics } from './state/metrics.svelte';
export { default as Dashboard } from './ui/Dashboard.svelte';
export { default as WorkflowPage } from './ui/WorkflowPage.svelte';
