/** What another application mounts: see docs/embedding.md. */
export { MetricsClient, ApiError } from './api/client';
export { AlertsClient } from './api/alerts';
export { supabaseChannels, type Connect } from './live/channel';
export { sessionOf, type Session } from './session';
export { Alerts } from './state/alerts.svelte';
export { readPlace, START, writePlace, type Place } from './state/place';
export { readFilters, writeFilters, type Filters } from './state/filters';
export { Metrics } from './state/metrics.svelte';
export { default as AlertsPage } from './ui/alerts/AlertsPage.svelte';
export { default as Dashboard } from './ui/Dashboard.svelte';
export { default as WorkflowPage } from './ui/WorkflowPage.svelte';
