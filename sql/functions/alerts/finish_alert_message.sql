-- Notes how an attempt went: sent, or to be tried again after retry_in, or (null) dead. A daemon
-- whose lease has expired changes nothing: the attempt is no longer the same. Returns how many
-- deliveries that were.
create or replace function meshmetrics.finish_alert_message(
  message uuid,
  at_attempt integer,
  was_sent boolean,
  retry_in interval,
  status_code integer,
  took_ms integer,
  failure text,
  answer text,
  disable_channel boolean
)
returns integer
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  moment constant timestamptz := clock_timestamp();
  finished integer;
  of_channel uuid;
begin
  with done as (
    update public.workflow_alert_deliveries d
    set status = case when was_sent then 'sent' when retry_in is null then 'dead' else 'pending' end,
        next_attempt_at = moment + coalesce(retry_in, interval '0'),
        leased_until = null,
        finished_at = case when was_sent or retry_in is null then moment end,
        http_status = status_code,
        latency_ms = took_ms,
        error = left(failure, 500),
        excerpt = left(answer, 500)
    where d.message_id = message and d.status = 'sending' and d.attempts = at_attempt
    returning d.channel_id, d.incident_id
  ),
  following as ( -- these waited for it
    update public.workflow_alert_deliveries f
    set next_attempt_at = moment
    from (select distinct d.channel_id, d.incident_id from done d) d
    where (was_sent or retry_in is null)
      and f.incident_id = d.incident_id and f.channel_id = d.channel_id
      and f.status = 'pending' and f.message_id is null and f.next_attempt_at > moment
  )
  select count(*), (array_agg(d.channel_id))[1] into finished, of_channel from done d;
  if disable_channel and finished > 0 then
    update public.workflow_alert_channels c
    set enabled = false, disabled_reason = left(failure, 500), updated_at = moment
    where c.id = of_channel;
  end if;
  return finished;
end;
$$;
