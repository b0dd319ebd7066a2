-- Acknowledgements that were not broadcast yet, as notices: each is returned once, however many daemons call,
-- and at most four of a project at a time, the oldest first, as with its rates. Waits for no lock: an
-- incident that is being written is left for the next call.
--
-- One that is lost after that is on the screens when they refetch: nothing else waits for it.
create or replace function meshmetrics.claim_acknowledgements(out notices jsonb)
language sql
volatile
security definer
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
as $$
  with unsent as (
    select
      i.id,
      row_number() over (partition by i.project_id order by i.acknowledged_at, i.id) as place
    from public.workflow_alert_incidents i
    where i.acknowledged_at is not null and i.acknowledged_at is distinct from i.acknowledged_told
  ),
  claimed as materialized (
    select i.id
    from public.workflow_alert_incidents i
    where i.id in (select u.id from unsent u where u.place <= 4)
      and i.acknowledged_at is not null and i.acknowledged_at is distinct from i.acknowledged_told
    for update skip locked
  ),
  sent as (
    update public.workflow_alert_incidents i
    set acknowledged_told = i.acknowledged_at
    from claimed t
    where i.id = t.id
    returning i.id, i.notice, i.acknowledged_at
  )
  select
    coalesce(
      jsonb_agg(
        t.notice || jsonb_build_object('kind', 'acknowledged', 'at', t.acknowledged_at)
        order by t.acknowledged_at, t.id
      ),
      '[]'
    )
  from sent t;
$$;
