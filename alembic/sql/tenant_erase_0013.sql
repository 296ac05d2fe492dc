-- Erases deleted tenants whose grace is over, at most p_most rows of one tenant at a call; returns how many rows it
-- touched, and 0 where nothing is due. Whose turn was longest ago is next: a huge tenant does not hold up the others.
--
-- What is billed stays under the tenant's id: usage, quotas, grants, outcomes. The audit log stays, but what was changed
-- from and to goes. The tenant's row stays as a tombstone, under a slug that no other tenant can ever have.
-- A minute more than the grace: until then a process may believe that the tenant is there. And not while a request of
-- it still holds units: the sweeper ends those, and those of its jobs.
create function fanfold.tenant_erase(p_most integer) returns bigint
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $function$
declare
  erased uuid;
  emptied text;
  many bigint;
begin
  if not pg_try_advisory_xact_lock(hashtextextended('fanfold.tenant_erase', 0)) then
    return 0;
  end if;
  if to_regclass('fanfold.jobs') is not null then
    -- A job that waits holds its units as long as that takes; nobody works for a deleted tenant any more.
    update fanfold.reservations r set expires_at = now()
      from fanfold.tenants t
     where t.status = 'deleted' and t.erased_at is null and t.erase_at <= now() - interval '1 minute'
       and r.tenant_id = t.id and r.expires_at > now() + interval '1 day';
  end if;
  select t.id into erased from fanfold.tenants t
   where t.status = 'deleted' and t.erased_at is null and t.erase_at <= now() - interval '1 minute'
     and not exists (select from fanfold.reservations r where r.tenant_id = t.id)
   order by t.erase_tried_at nulls first, t.erase_at limit 1 for update skip locked;
  if not found then
    return 0;
  end if;
  update fanfold.tenants set erase_tried_at = now() where id = erased;
  update fanfold.audit_events e set before = null, after = null
    from (select i.id from fanfold.audit_events i
           where i.tenant_id = erased and (i.before is not null or i.after is not null) limit p_most) o
   where e.tenant_id = erased and e.id = o.id;
  get diagnostics many = row_count;
  if many > 0 then return many; end if;
  -- In pieces, each committed before the next; what refers to another table comes before it.
  foreach emptied in array array[
    'job_results', 'job_parts', 'job_changes', 'jobs', 'tenant_storage',
    'idempotency_answers', 'idempotency_keys', 'outbox', 'sessions', 'oauth_clients', 'api_keys', 'upstream_prices',
    'upstream_circuits', 'upstreams', 'invitations', 'memberships', 'webhook_attempts', 'webhook_deliveries', 'webhooks'
  ] loop
    continue when to_regclass('fanfold.' || emptied) is null;  -- a table of a later migration
    execute format(
      'delete from fanfold.%1$I where ctid = any (array(select ctid from fanfold.%1$I where tenant_id = $1 limit $2))',
      emptied) using erased, p_most;
    get diagnostics many = row_count;
    if many > 0 then return many; end if;
  end loop;
  update fanfold.tenants
     set slug = 'erased:' || erased, name = '', limit_overrides = '{}', erased_at = now(), updated_at = now()
   where id = erased;
  return 1;
end
$function$
