-- Gives a claim back, where it is still the one of `p_attempts`: due again after `p_pause_s` seconds, or dead.
-- Returns whether it was.
create function fanfold.outbox_retry(
  p_tenant uuid, p_id uuid, p_attempts integer, p_pause_s double precision, p_dead boolean) returns boolean
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $function$
begin
  update fanfold.outbox t
     set leased_until = null, due_at = clock_timestamp() + make_interval(secs => p_pause_s),
         dead_at = case when p_dead then clock_timestamp() end
   where t.tenant_id = p_tenant and t.id = p_id and t.attempts = p_attempts;
  return found;
end
$function$
