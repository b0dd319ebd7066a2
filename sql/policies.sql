-- Who sees what. A tenant is told apart here and nowhere else.

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
