"""Uses the database as the application does: SQLAlchemy, as app_user, table by table.

Takes the URL in DATABASE_URL, prints a JSON summary, ends with 1 and what went wrong on stderr. Rows it makes are deleted
again, except those the audit trigger writes. It runs in PgBouncer's transaction mode, as it keeps nothing in a session.
"""

import json
import os
import re
import sys
import uuid
from datetime import datetime, timedelta, timezone
from ipaddress import ip_address

from sqlalchemy import Enum, MetaData, create_engine, delete, event, func, inspect, insert, select, text, update
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.orm import Session, registry

import models

# Logs that app_user may only add to; test/integration/schema-rights.test.ts holds the list against the grants.
APPEND_ONLY = {
    "audit_log",
    "data_access_log",
    "data_retention_logs",
    "device_login_attempts",
    "router_decision_log",
    "security_metrics",
    "two_factor_audit_log",
}
RUN = uuid.uuid4().hex[:12]
NOW = datetime.now(timezone.utc)
LATER = re.compile(r"^(expir|.*expir|end|ended|due|completed|.*_end|last_seen|discovery|.*_completed)")


def engine_from_environment():
    url = os.environ.get("DATABASE_URL")
    if not url:
        sys.exit("DATABASE_URL is not set: a libpq URL of the database, as app_user")
    return create_engine(re.sub(r"^postgres(ql)?://", "postgresql+psycopg://", url))


def refused(session, statement):
    """Whether the database denies a statement; the transaction goes on."""
    try:
        with session.begin_nested():
            session.execute(statement)
    except ProgrammingError as error:
        return "permission denied" in str(error.orig)
    return False


class Reflected:
    """Every table under its model's name, with nothing known but what the database says."""

    def __init__(self, engine):
        self.engine = engine
        self.metadata = MetaData()
        self.metadata.reflect(engine, schema=None, only=lambda name, _: name != "pgmigrations")
        self.metadata.reflect(engine, schema="audit")
        self.tables = self.metadata.sorted_tables
        self.lists = self.read_lists()
        self.mapped = {}
        mapper = registry()
        for table in self.tables:
            # A table without a primary key can't be mapped: SQLAlchemy refuses it here.
            entity = type(table.name, (), {})
            mapper.map_imperatively(entity, table)
            self.mapped[table] = entity

    def read_lists(self):
        """Values that checks of the form `column in (…)` allow."""
        inspector = inspect(self.engine)
        lists = {}
        for table in self.tables:
            for check in inspector.get_check_constraints(table.name, schema=table.schema):
                found = re.match(r"\(?\(?(\w+)\)?(?:::text)? = ANY", check["sqltext"])
                if found:
                    lists[table.fullname, found[1]] = re.findall(r"'([^']+)'::character varying", check["sqltext"])
        return lists

    def value(self, table, column):
        kind = column.type
        if isinstance(kind, ARRAY):
            return []
        if isinstance(kind, Enum):
            return kind.enums[0]
        python_type = {"UUID": uuid.UUID, "JSON": dict, "JSONB": dict, "INET": str}.get(type(kind).__name__) or kind.python_type
        if python_type is uuid.UUID:
            return uuid.uuid4()
        if python_type in (dict, bool):
            return python_type()
        if python_type in (int, float):
            return 10 if column.name.startswith("total_") else 1
        if python_type is datetime:
            return NOW + timedelta(days=1) if LATER.match(column.name) else NOW
        if type(kind).__name__ == "INET":
            return "192.0.2.1"
        if (table.fullname, column.name) in self.lists:
            return self.lists[table.fullname, column.name][0]
        if "email" in column.name:
            return f"{column.name}-{RUN}@example.org"
        if "phone" in column.name:
            return "+493012345"
        if column.name == "country_code":
            return "+49"
        return f"{RUN} {column.name}"[: kind.length or 200]

    def row(self, table, parents):
        """Only what must be given: the rest is the server's business, and is what plain SQL relies on."""
        values = {}
        for column in table.columns:
            if column.foreign_keys:
                target = next(iter(column.foreign_keys)).column
                values[column.name] = getattr(parents[target.table], target.name)
            elif not column.nullable and column.server_default is None and column.identity is None:
                values[column.name] = self.value(table, column)
        return values

    def read(self, session, table, entity):
        """By the model's key, id, which the partitioned tables' key holds and more."""
        key = table.c.get("id", next(iter(table.primary_key.columns)))
        return session.scalars(select(self.mapped[table]).where(key == getattr(entity, key.name))).one()

    def run(self):
        with Session(self.engine, expire_on_commit=False) as session:
            made = {}
            # app_user can't take back a row of a log, so these are made and rolled back below.
            for table in self.tables:
                if table.name in APPEND_ONLY:
                    continue
                entity = self.mapped[table](**self.row(table, made))
                session.add(entity)
                session.flush()
                made[table] = entity
            session.commit()

        with Session(self.engine, expire_on_commit=False) as session:
            for table, entity in made.items():
                found = self.read(session, table, entity)
                for column in table.primary_key.columns:
                    assert getattr(found, column.name) == getattr(entity, column.name), table.fullname
                changing = [c for c in table.columns if not c.primary_key and not c.foreign_keys]
                for column in changing[:1]:
                    session.execute(update(table).where(self.key(table, entity)).values({column.name: self.value(table, column)}))
            session.commit()

        for table in [table for table in self.tables if table.name in APPEND_ONLY]:
            with Session(self.engine) as session:
                entity = self.mapped[table](**self.row(table, made))
                session.add(entity)
                session.flush()
                self.read(session, table, entity)
                column = next(c for c in table.columns if not c.primary_key and not c.foreign_keys)
                assert refused(session, update(table).values({column.name: column})), f"update of {table.fullname} is allowed"
                assert refused(session, delete(table)), f"delete from {table.fullname} is allowed"
                session.rollback()

        with Session(self.engine) as session:
            for table, entity in reversed(made.items()):
                assert session.execute(delete(table).where(self.key(table, entity))).rowcount == 1, table.fullname
            session.commit()
        return len(self.tables)

    @staticmethod
    def key(table, entity):
        return next(iter(table.primary_key.columns)) == getattr(entity, next(iter(table.primary_key.columns)).name)


def declared(engine):
    """The hand-written models of the nine tables that the report calls otherwise."""
    # With checkfirst, SQLAlchemy makes what it does not find, and app_user may make nothing.
    models.Base.metadata.create_all(engine, checkfirst=True)

    needed = {
        models.UserSecurityTier: dict(),
        models.EnterpriseAuditEvent: dict(
            event_id=RUN, event_type="LOGIN", event_category=models.AuditEventCategory.AUTHENTICATION,
            event_severity=models.AuditEventSeverity.LOW, event_timestamp=NOW, service_name="auth",
            event_description="a login", event_outcome="SUCCESS", source_ip="192.0.2.1",
        ),
        models.ThreatIntelligenceEvent: dict(
            threat_id=RUN, threat_type=models.ThreatType.BRUTE_FORCE, threat_name="guessing", threat_description="many logins",
            severity=models.AuditEventSeverity.HIGH, detected_at=NOW, detection_method="rule",
        ),
        models.ComplianceAssessment: dict(
            assessment_id=RUN, compliance_standard=models.ComplianceStandard.GDPR, assessment_date=NOW,
            scope_description="all", assessed_systems=["database"], assessed_processes=["login"],
            overall_status=models.ComplianceStatus.COMPLIANT,
        ),
        models.ForensicInvestigation: dict(
            case_id=RUN, case_name="a case", case_description="what happened", case_type="DATA_BREACH", incident_date=NOW,
            discovery_date=NOW,
        ),
        models.AgentConfiguration: dict(
            agent_id=RUN, agent_type="expert", agent_role="adviser", assigned_llm="llama3.2:3b",
            model_provider=models.ModelProvider.OLLAMA,
        ),
        models.GpuResource: dict(gpu_name="GPU", gpu_model="model", total_memory_mb=1, compute_capability="8.6"),
        models.TaskDelegation: dict(
            session_id=RUN, pm_agent_id="pm", target_agent_id="expert", agent_role="adviser", task_description="do",
            delegation_directive="so", task_type="analysis",
        ),
        models.MultiAgentConversation: dict(
            session_id=RUN, conversation_title="title", conversation_type="planning", coordinator_agent_id="pm"
        ),
    }
    refers = {
        models.UserSecurityTier: "user_id", models.EnterpriseAuditEvent: "user_id", models.ThreatIntelligenceEvent: "user_id",
        models.ComplianceAssessment: "assessor_id", models.ForensicInvestigation: "primary_investigator_id",
        models.AgentConfiguration: "user_id", models.TaskDelegation: "user_id", models.MultiAgentConversation: "user_id",
    }
    with Session(engine) as session:
        user = models.User(username=f"declared-{RUN}", email=f"declared-{RUN}@example.org", hashed_password="x")
        session.add(user)
        session.commit()
        user_id = user.id

    for model in models.RENAMED:
        with Session(engine) as session:
            values = dict(needed[model])
            if model in refers:
                values[refers[model]] = user_id
            row = model(**values)
            session.add(row)
            session.commit()
            key = row.id
            assert key is not None, model.__tablename__

        with Session(engine) as session:
            row = session.get(model, key)
            for name, value in values.items():
                # psycopg reads an address as an address.
                assert getattr(row, name) in (value, ip_address(value) if name == "source_ip" else value), f"{model.__tablename__}.{name}"
            stamp = next((c.name for c in model.__table__.columns if c.onupdate is not None), None)
            changed = next(c.name for c in model.__table__.columns if isinstance(c.type, models.Text) or c.name == "gpu_name")
            setattr(row, changed, "changed")
            session.commit()
            session.refresh(row)
            assert getattr(row, changed) == "changed", model.__tablename__
            assert stamp is None or getattr(row, stamp) >= NOW - timedelta(minutes=5), f"{model.__tablename__}.{stamp}"

            if model in refers:
                try:
                    with session.begin_nested():
                        session.execute(update(model).where(model.id == key).values({refers[model]: -1}))
                    raise AssertionError(f"{model.__tablename__}.{refers[model]} refers to nobody")
                except Exception as error:
                    assert "violates foreign key constraint" in str(error), error

            session.delete(row)
            session.commit()
            assert session.get(model, key) is None

    with Session(engine) as session:
        session.delete(session.get(models.User, user_id))
        session.commit()
    return len(models.RENAMED)


def report_names(engine):
    """The report's names are views: columns are reflected, defaults are the table's, and rows go through."""
    inspector = inspect(engine)
    names = [name for name in inspector.get_view_names() if name not in ("pg_stat_statements", "pg_stat_statements_info")]
    metadata = MetaData()
    metadata.reflect(engine, views=True, only=names)
    reflected = Reflected(engine)
    behind = {table.name: table for table in reflected.tables}
    for name in names:
        view = metadata.tables[name]
        table = behind[name if name in behind else f"{name}s"]
        with Session(engine) as session:
            parents = {}
            for column in table.columns:
                for key in column.foreign_keys:
                    other = key.column.table
                    if other not in parents:
                        parents[other] = reflected.mapped[other](**reflected.row(other, parents))
                        session.add(parents[other])
                        session.flush()
            made = session.execute(insert(view).values(reflected.row(table, parents)).returning(view.c.id)).scalar_one()
            assert session.execute(select(func.count()).select_from(table).where(table.c.id == made)).scalar_one() == 1, name
            column = next(c for c in view.columns if c.name != "id")
            changing = update(view).where(view.c.id == made).values({column.name: column})
            removing = delete(view).where(view.c.id == made)
            if name in APPEND_ONLY:
                assert refused(session, changing) and refused(session, removing), f"{name} can be changed"
            else:
                assert session.execute(changing).rowcount == 1, name
                assert session.execute(removing).rowcount == 1, name
            session.rollback()
    return len(names)


@event.listens_for(Session, "after_begin")
def say_who_acts(session, transaction, connection):
    """As docs/audit-trail.md shows it."""
    identity = session.info.get("identity")
    if identity is not None:
        connection.execute(
            text("select audit.act_as(:user_id, :session_id, :ip_address, :user_agent)"),
            identity,
        )


def acting(engine):
    """The audit trail names the user for whom a session acts, in each of its transactions, and nobody in the next session."""
    with Session(engine, expire_on_commit=False) as session:
        user = models.User(username=f"acting-{RUN}", email=f"acting-{RUN}@example.org", hashed_password="x")
        session.add(user)
        session.commit()
    identity = dict(user_id=user.id, session_id=None, ip_address="192.0.2.7", user_agent="browser")

    def change(info, themes):
        with Session(engine, info=info) as session:
            for theme in themes:
                session.execute(update(models.User).where(models.User.id == user.id).values(hashed_password=theme))
                with session.begin_nested():
                    session.execute(update(models.User).where(models.User.id == user.id).values(username=f"{theme}-{RUN}"))
                session.commit()

    change({"identity": identity}, ["one", "two"])
    change({}, ["three"])
    with Session(engine) as session:
        entries = session.execute(
            text(
                "select user_id, ip_address, security_context ->> 'origin' from audit.audit_log "
                "where table_name = 'users' and operation = 'UPDATE' and row_id = :id order by transaction_id"
            ),
            {"id": str(user.id)},
        ).all()
        session.execute(delete(models.User).where(models.User.id == user.id))
        session.commit()
    proven, nobody = (user.id, "192.0.2.7", "trigger"), (None, None, "trigger")
    assert entries == [proven] * 4 + [nobody] * 2, entries
    return len(entries)


def main():
    engine = engine_from_environment()
    with engine.connect() as connection:
        role = connection.execute(text("select current_user")).scalar_one()
    summary = {
        "role": role,
        "reflected_tables": Reflected(engine).run(),
        "declared_models": declared(engine),
        "report_names": report_names(engine),
        "named_changes": acting(engine),
    }
    print(json.dumps(summary))


if __name__ == "__main__":
    main()
