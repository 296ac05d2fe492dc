-- A sign-in as it is now: null where it was ended, its user is inactive, has left the tenant, or its client is revoked.
-- Without a second factor nobody is an operator.
create function fanfold.authenticate_session(p_session uuid)
returns table (user_id uuid, client_id uuid, role text, is_operator boolean, tenant_id uuid, tenant_slug text,
               tenant_status text, scopes text[], limits jsonb)
language sql stable security definer set search_path = pg_catalog, pg_temp as $f$
    select s.user_id, s.client_id, m.role, coalesce(u.is_operator and u.totp_sealed is not null, false),
           s.tenant_id, t.slug, t.status,
           case when c.id is null then s.scopes
                else array(select unnest(s.scopes) intersect select unnest(c.scopes)) end,
           to_jsonb(p) - 'code' || t.limit_overrides
      from fanfold.sessions s
      left join fanfold.users u on u.id = s.user_id and u.is_active
      left join fanfold.oauth_clients c
        on c.tenant_id = s.tenant_id and c.id = s.client_id and c.revoked_at is null
      -- Who left and came back signs in anew: what was signed in before does not come back to life.
      left join fanfold.memberships m
        on m.tenant_id = s.tenant_id and m.user_id = s.user_id and m.created_at <= s.created_at
      left join fanfold.tenants t on t.id = s.tenant_id
      left join fanfold.plans p on p.code = t.plan
     where s.id = p_session and s.revoked_at is null and s.expires_at > now()
       and (u.id is not null or c.id is not null)
       and (s.tenant_id is null or s.client_id is not null or m.user_id is not null)
$f$
