-- What is to become of notices that were not sent because their rule was silenced, once it no longer is, of
-- these projects (null: of all): a channel that does not know of an incident that is still open gets its last
-- opening notice now, and one that knows of an incident that was resolved meanwhile gets the end. The rest is
-- never sent; finished_at says so.
create or replace function meshmetrics.release_silenced_alerts(as_of timestamptz, project_ids uuid[])
returns bigint
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$
  with waiting as (
    select
      d.id, d.kind, i.closed_at is null as is_open,
      coalesce((
        select t.kind
        from public.workflow_alert_deliveries t
        where t.incident_id = d.incident_id and t.channel_id = d.channel_id
          and t.status in ('sent', 'pending', 'held', 'sending')
        order by t.created_at desc, t.id desc
        limit 1
      ), 'resolved') <> 'resolved' as knows,
      row_number() over (
        partition by d.incident_id, d.channel_id, d.kind = 'resolved', d.kind = 'reminder'
        order by d.created_at desc, d.id desc
      ) = 1 as is_last
    from public.workflow_alert_deliveries d
    left join public.workflow_alert_incidents i on i.id = d.incident_id
    where d.status = 'silenced' and d.finished_at is null
      and (project_ids is null or d.project_id = any (project_ids))
      and not exists (
        select from public.workflow_alert_rules r
        where r.id = i.rule_id and r.silenced_until > as_of
      )
  ),
  judged as (
    select
      w.id,
      w.is_last and case w.kind
        when 'resolved' then not w.is_open and w.knows
        when 'reminder' then false
        else w.is_open and not w.knows
      end as goes
    from waiting w
  ),
  released as (
    update public.workflow_alert_deliveries d
    set status = case when j.goes then 'pending' else 'silenced' end,
        held_for = null,
        next_attempt_at = as_of,
        finished_at = case when not j.goes then as_of end
    from judged j
    where d.id = j.id
    returning d.status
  )
  select count(*) from released r where r.status = 'pending';
$$;
