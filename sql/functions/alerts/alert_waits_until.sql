-- Until when a delivery that is in no message yet has to wait for an earlier one about the same incident on the
-- same channel (null: it need not), so that no end arrives before its beginning. Earlier ones that have the
-- same status travel in the same message, in order. The daily digest keeps no other notice waiting.
create or replace function meshmetrics.alert_waits_until(
  delivery public.workflow_alert_deliveries,
  as_of timestamptz
)
returns timestamptz
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select
    max(greatest(
      case when e.status <> 'sending' then e.next_attempt_at end, as_of + interval '1 second'
    ))
  from public.workflow_alert_deliveries e
  where e.incident_id = delivery.incident_id and e.channel_id = delivery.channel_id
    and (e.created_at, e.id) < (delivery.created_at, delivery.id)
    and e.status in ('pending', 'held', 'sending')
    and (e.message_id is not null or e.status <> delivery.status)
    and e.held_for is distinct from 'digest';
$$;
