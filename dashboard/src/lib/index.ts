/** What another application mounts: see docs/embedding.md. */
export { MetricsClient, ApiError } from './metrics/snapshot';
export { AlertsClient } from './api/alerts';
export { supabaseChannels, type Connect } from './live/channel';
export { sessionOf, type Session } from './session';
export { Alerts } from './alerts/alerts.svelte';
export { readPlace, START, writePlace, type Place } from './alerts/alerts-url';
export { readFilters, writeFilters, type Filters } from './metrics/filters';
export { Metrics } from './metrics/metrics.svelte';
export { default as AlertsPage } from './ui/alerts/AlertsPage.svelte';
export { default as Dashboard } from './ui/overview/Dashboard.svelte';
export { default as WorkflowPage } from './ui/workflow/WorkflowPage.svelte';
