/** What another application mounts: see docs/embedding.md. */
export { ApiError } from './api/http';
export { AlertsClient } from './api/alerts';
export { MetricsClient } from './api/metrics';
export { supabaseChannels, type Connect } from './live/channel';
export { sessionOf, type Session } from './session';
export { Alerts } from './alerts/alerts.svelte';
export {
  ALERTS_HOME,
  readAlertsLocation,
  writeAlertsLocation,
  type AlertsLocation,
} from './alerts/alerts-url';
export { readFilters, writeFilters, type Filters } from './metrics/filters';
export { Metrics } from './metrics/metrics.svelte';
export { default as AlertsPage } from './ui/alerts/AlertsPage.svelte';
export { default as Dashboard } from './ui/overview/Dashboard.svelte';
export { default as WorkflowPage } from './ui/workflow/WorkflowPage.svelte';
