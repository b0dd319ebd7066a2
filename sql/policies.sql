-- Which rows each tenant can read and write. Tenants are separated here and nowhere else.

drop policy if exists "members read" on public.workflow_run_metrics;
create policy "members read" on public.workflow_run_metrics
  for select to authenticated
  using (project_id in (select public.user_project_ids()));

drop policy if exists "members read" on public.workflow_run_buckets;
create policy "members read" on public.workflow_run_buckets
  for select to authenticated
  using (project_id in (select public.user_project_ids()));

drop policy if exists "members read" on public.workflow_run_project_buckets;
create policy "members read" on public.workflow_run_project_buckets
  for select to authenticated
  using (project_id in (select public.user_project_ids()));

drop policy if exists "members read" on public.workflow_run_open_counts;
create policy "members read" on public.workflow_run_open_counts
  for select to authenticated
  using (project_id in (select public.user_project_ids()));

drop policy if exists "members read" on public.workflow_run_abandonments;
create policy "members read" on public.workflow_run_abandonments
  for select to authenticated
  using (project_id in (select public.user_project_ids()));

-- Alerts: members write rules and channels, and read what came of them.
drop policy if exists "members read" on public.workflow_alert_rules;
create policy "members read" on public.workflow_alert_rules
  for select to authenticated
  using (project_id in (select public.user_project_ids()));

drop policy if exists "members add" on public.workflow_alert_rules;
create policy "members add" on public.workflow_alert_rules
  for insert to authenticated
  with check (project_id in (select public.user_project_ids()));

drop policy if exists "members change" on public.workflow_alert_rules;
create policy "members change" on public.workflow_alert_rules
  for update to authenticated
  using (project_id in (select public.user_project_ids()))
  with check (project_id in (select public.user_project_ids()));

drop policy if exists "members remove" on public.workflow_alert_rules;
create policy "members remove" on public.workflow_alert_rules
  for delete to authenticated
  using (project_id in (select public.user_project_ids()));

drop policy if exists "members read" on public.workflow_alert_channels;
create policy "members read" on public.workflow_alert_channels
  for select to authenticated
  using (project_id in (select public.user_project_ids()));

drop policy if exists "members add" on public.workflow_alert_channels;
create policy "members add" on public.workflow_alert_channels
  for insert to authenticated
  with check (project_id in (select public.user_project_ids()));

drop policy if exists "members change" on public.workflow_alert_channels;
create policy "members change" on public.workflow_alert_channels
  for update to authenticated
  using (project_id in (select public.user_project_ids()))
  with check (project_id in (select public.user_project_ids()));

drop policy if exists "members remove" on public.workflow_alert_channels;
create policy "members remove" on public.workflow_alert_channels
  for delete to authenticated
  using (project_id in (select public.user_project_ids()));

drop policy if exists "members read" on public.workflow_alert_states;
create policy "members read" on public.workflow_alert_states
  for select to authenticated
  using (project_id in (select public.user_project_ids()));

drop policy if exists "members read" on public.workflow_alert_incidents;
create policy "members read" on public.workflow_alert_incidents
  for select to authenticated
  using (project_id in (select public.user_project_ids()));

drop policy if exists "members read" on public.workflow_alert_events;
create policy "members read" on public.workflow_alert_events
  for select to authenticated
  using (project_id in (select public.user_project_ids()));

drop policy if exists "members read" on public.workflow_alert_deliveries;
create policy "members read" on public.workflow_alert_deliveries
  for select to authenticated
  using (project_id in (select public.user_project_ids()));

drop policy if exists "members read" on public.workflow_alert_failures;
create policy "members read" on public.workflow_alert_failures
  for select to authenticated
  using (project_id in (select public.user_project_ids()));

-- Which columns a member may write is in privileges.sql: here an acknowledgement, in one's own name.
drop policy if exists "members acknowledge" on public.workflow_alert_incidents;
create policy "members acknowledge" on public.workflow_alert_incidents
  for update to authenticated
  using (project_id in (select public.user_project_ids()))
  with check (project_id in (select public.user_project_ids()) and acknowledged_by = (select auth.uid()));

-- A test of a channel, asking its address to confirm, and asking for a replay; all else of deliveries is the daemon's.
drop policy if exists "members test" on public.workflow_alert_deliveries;
create policy "members test" on public.workflow_alert_deliveries
  for insert to authenticated
  with check (
    kind in ('test', 'confirm')
    and project_id in (select public.user_project_ids())
    and channel_id in (
      select c.id from public.workflow_alert_channels c
      where c.project_id = workflow_alert_deliveries.project_id
    )
  );
drop policy if exists "members replay" on public.workflow_alert_deliveries;
create policy "members replay" on public.workflow_alert_deliveries
  for update to authenticated
  using (project_id in (select public.user_project_ids()))
  with check (project_id in (select public.user_project_ids()));

-- The broadcast channel metrics:<project_id>: members receive; only the service sends.
drop policy if exists "meshmetrics: members receive" on realtime.messages;
create policy "meshmetrics: members receive" on realtime.messages
  for select to authenticated
  using (
    realtime.messages.extension = 'broadcast'
    and (select realtime.topic()) in (
      select 'metrics:' || p from public.user_project_ids() p
    )
  );
