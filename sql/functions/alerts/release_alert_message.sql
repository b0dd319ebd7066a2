-- Puts a message that was claimed back without an attempt: its receiver has its share of attempts already.
create or replace function meshmetrics.release_alert_message(
  message uuid,
  at_attempt integer,
  retry_in interval
)
returns void
language sql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
  update public.workflow_alert_deliveries d
  set status = 'pending',
      attempts = d.attempts - 1,
      first_attempt_at = case when d.attempts > 1 then d.first_attempt_at end,
      next_attempt_at = clock_timestamp() + retry_in,
      leased_until = null
  where d.message_id = message and d.status = 'sending' and d.attempts = at_attempt;
$$;
