-- The exact privileges. Everything is taken away first: Supabase's default privileges give new
-- tables and functions in public to anon and authenticated.

do $$
begin
  if not exists (select from pg_catalog.pg_roles where rolname = 'meshmetrics_worker') then
    create role meshmetrics_worker nologin noinherit;
  end if;
exception when duplicate_object or unique_violation then
  null; -- roles belong to the cluster: another database's migration was quicker
end;
$$;

revoke all on schema meshmetrics from public, anon, authenticated, service_role, meshmetrics_worker;
revoke all on schema meshmetrics_parts from public, anon, authenticated, service_role, meshmetrics_worker;
revoke all on all tables in schema meshmetrics from public, anon, authenticated, service_role, meshmetrics_worker;
revoke all on all sequences in schema meshmetrics from public, anon, authenticated, service_role, meshmetrics_worker;
revoke all on sequence public.workflow_alert_events_id_seq
from public, anon, authenticated, service_role, meshmetrics_worker;
revoke all on all functions in schema meshmetrics from public, anon, authenticated, service_role, meshmetrics_worker;
revoke all on
  public.workflow_run_metrics, public.workflow_run_buckets, public.workflow_run_project_buckets,
  public.workflow_run_open_counts, public.workflow_run_abandonments
from public, anon, authenticated, service_role, meshmetrics_worker;

grant select on
  public.workflow_run_metrics, public.workflow_run_buckets, public.workflow_run_project_buckets,
  public.workflow_run_open_counts, public.workflow_run_abandonments
to authenticated, service_role;

-- Alerts. Tenants never read a sealed column, and write none of what the daemon finds.
revoke all on
  public.workflow_alert_rules, public.workflow_alert_channels, public.workflow_alert_states,
  public.workflow_alert_incidents, public.workflow_alert_events, public.workflow_alert_deliveries,
  public.workflow_alert_failures
from public, anon, authenticated, service_role, meshmetrics_worker;
grant select on
  public.workflow_alert_rules, public.workflow_alert_states, public.workflow_alert_incidents,
  public.workflow_alert_events, public.workflow_alert_deliveries, public.workflow_alert_failures
to authenticated, service_role;
grant select (
  id, project_id, name, kind, enabled, disabled_reason, hint, old_secret_until, created_at, updated_at,
  unconfirmed
) on public.workflow_alert_channels to authenticated, service_role;
grant delete on public.workflow_alert_rules, public.workflow_alert_channels to authenticated;
grant insert (
  project_id, name, enabled, severity, scope, workflow_slug, metric, comparison, threshold,
  window_seconds, window_min_runs, min_runs, method, consecutive, recovery_threshold, recovery_runs,
  reopen_within_seconds, repeat_every_seconds, no_data_after_seconds, silenced_until, silence_reason,
  notify_resolved, channel_ids, deadline_seconds
) on public.workflow_alert_rules to authenticated;
grant update (
  name, enabled, severity, scope, workflow_slug, metric, comparison, threshold,
  window_seconds, window_min_runs, min_runs, method, consecutive, recovery_threshold, recovery_runs,
  reopen_within_seconds, repeat_every_seconds, no_data_after_seconds, silenced_until, silence_reason,
  notify_resolved, channel_ids, deadline_seconds
) on public.workflow_alert_rules to authenticated;
grant insert (project_id, name, kind, enabled, hint, sealed_target, sealed_secret)
  on public.workflow_alert_channels to authenticated;
grant update (name, enabled, disabled_reason, hint, sealed_target, sealed_secret)
  on public.workflow_alert_channels to authenticated;
grant update (acknowledged_at, acknowledged_by, acknowledge_note)
  on public.workflow_alert_incidents to authenticated;
grant insert (project_id, channel_id, kind) on public.workflow_alert_deliveries to authenticated;
grant update (replay_requested_at) on public.workflow_alert_deliveries to authenticated;

-- What tenants read through: as themselves, so that the policies decide (four exceptions: decision 12). The
-- parts of these functions are in a schema of their own, which Supabase's REST API does not expose.
revoke all on all functions in schema meshmetrics_parts from public, anon, authenticated, service_role;
grant usage on schema meshmetrics_parts to authenticated, service_role;
grant execute on all functions in schema meshmetrics_parts to authenticated, service_role;
revoke all on function
  public.workflow_alert_preview(jsonb, uuid, integer),
  public.workflow_metrics_recent(uuid[], uuid[], integer),
  public.workflow_metrics_series(timestamptz, timestamptz, text, text, uuid[], uuid[], text),
  public.workflow_metrics_summary(
    timestamptz, timestamptz, uuid[], uuid[], text, text, text, boolean, bigint, text, boolean,
    integer, double precision, text, uuid
  ),
  public.workflow_metrics_totals(timestamptz, timestamptz, uuid[], uuid[], text, text),
  public.workflow_metrics_unknown_statuses(),
  public.workflow_metrics_versions(uuid[], uuid[], text),
  public.workflow_metrics_workflow(uuid, timestamptz, timestamptz, text)
from public, anon, authenticated, service_role, meshmetrics_worker;
grant execute on function
  public.workflow_alert_preview(jsonb, uuid, integer),
  public.workflow_metrics_recent(uuid[], uuid[], integer),
  public.workflow_metrics_series(timestamptz, timestamptz, text, text, uuid[], uuid[], text),
  public.workflow_metrics_summary(
    timestamptz, timestamptz, uuid[], uuid[], text, text, text, boolean, bigint, text, boolean,
    integer, double precision, text, uuid
  ),
  public.workflow_metrics_totals(timestamptz, timestamptz, uuid[], uuid[], text, text),
  public.workflow_metrics_unknown_statuses(),
  public.workflow_metrics_versions(uuid[], uuid[], text),
  public.workflow_metrics_workflow(uuid, timestamptz, timestamptz, text)
to authenticated, service_role;

-- The worker executes the worker's functions, and can do nothing else.
grant usage on schema meshmetrics to meshmetrics_worker;
grant execute on function
  meshmetrics.count_runs(uuid[]),
  meshmetrics.set_aside_run(uuid, text),
  meshmetrics.due_set_aside(integer),
  meshmetrics.stream_slot_active(),
  meshmetrics.follow_workflows(uuid[]),
  meshmetrics.settle_abandoned(uuid[], interval),
  meshmetrics.find_abandoned(interval, integer),
  meshmetrics.count_open_runs(),
  meshmetrics.refresh_deadlines(integer),
  meshmetrics.account(),
  meshmetrics.unknown_statuses(),
  meshmetrics.statuses(),
  meshmetrics.map_status(text, text),
  meshmetrics.runs_of_status(text, uuid, integer),
  meshmetrics.source_flaws(),
  meshmetrics.uncounted_runs(timestamptz, uuid, timestamptz, integer),
  meshmetrics.settled_until(interval),
  meshmetrics.unsettled_since(interval),
  meshmetrics.transactions_seen(interval),
  meshmetrics.read_checkpoint(text),
  meshmetrics.advance_checkpoint(text, timestamptz, uuid, boolean),
  meshmetrics.changed_since(timestamptz),
  meshmetrics.take_lease(uuid, text, interval),
  meshmetrics.release_lease(uuid),
  meshmetrics.maintain(timestamptz, integer),
  meshmetrics.audit(timestamptz, timestamptz, integer),
  meshmetrics.audit_runs(uuid[]),
  meshmetrics.audit_slices(integer),
  meshmetrics.audit_workflow(uuid, timestamptz, timestamptz),
  meshmetrics.audit_project(uuid, timestamptz, timestamptz),
  meshmetrics.repair_project(uuid, timestamptz, timestamptz),
  meshmetrics.repair_workflow(uuid, timestamptz, timestamptz),
  meshmetrics.retry_set_aside(),
  meshmetrics.receipt(timestamptz, timestamptz),
  meshmetrics.repair_effect(),
  meshmetrics.record_audit(text, timestamptz, bigint, bigint, bigint, bigint),
  meshmetrics.last_audit(text),
  meshmetrics.estimate_runs(timestamptz, timestamptz),
  meshmetrics.condition(),
  meshmetrics.counted_totals(),
  meshmetrics.engine_habits(),
  meshmetrics.tenant_sample(timestamptz),
  meshmetrics.evaluate_alerts(timestamptz, uuid[], uuid[]),
  meshmetrics.alert_projects(uuid[]),
  meshmetrics.record_alert_failure(uuid, text),
  meshmetrics.clear_alert_failure(uuid),
  meshmetrics.count_alert_failures(),
  meshmetrics.release_alert_message(uuid, integer, interval),
  meshmetrics.claim_acknowledgements(),
  meshmetrics.claim_alert_messages(interval, interval, integer, integer, integer, uuid[], uuid[]),
  meshmetrics.finish_alert_message(
    uuid, integer, boolean, interval, integer, integer, text, text, boolean
  ),
  meshmetrics.admit_mail(uuid, bytea[], boolean, integer, integer, integer),
  meshmetrics.note_mail(uuid, boolean),
  meshmetrics.confirm_mail(uuid, bytea),
  meshmetrics.unsubscribe_mail(uuid, uuid, bytea, bytea, boolean),
  meshmetrics.maintain_alerts(timestamptz)
to meshmetrics_worker;
