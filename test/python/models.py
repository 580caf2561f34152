"""Models in the application's style: its names of classes, tables and schemas, its enums, its defaults in Python.

The nine tables whose report name differs, and as much of users as they refer to.
"""

import enum
import uuid

from sqlalchemy import BigInteger, Boolean, DateTime, Enum, Float, ForeignKey, Integer, String, Text, func, text
from sqlalchemy.dialects.postgresql import ARRAY, INET, JSONB, UUID
from sqlalchemy.orm import DeclarativeBase, mapped_column


class Base(DeclarativeBase):
    pass


class SecurityTier(enum.Enum):
    """Stored by member name, as SQLAlchemy does unless told otherwise."""

    STANDARD = "standard"
    ENHANCED = "enhanced"
    ENTERPRISE = "enterprise"


class AuditEventCategory(enum.Enum):
    """Stored by member name, as SQLAlchemy does unless told otherwise."""

    AUTHENTICATION = "authentication"
    AUTHORIZATION = "authorization"
    DATA_ACCESS = "data_access"
    DATA_MODIFICATION = "data_modification"
    SYSTEM_ADMINISTRATION = "system_administration"
    SECURITY_EVENT = "security_event"
    COMPLIANCE_EVENT = "compliance_event"
    USER_MANAGEMENT = "user_management"
    POLICY_ENFORCEMENT = "policy_enforcement"


class AuditEventSeverity(enum.Enum):
    """Stored by member name, as SQLAlchemy does unless told otherwise."""

    INFORMATIONAL = "informational"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


class ThreatType(enum.Enum):
    """Stored by member name, as SQLAlchemy does unless told otherwise."""

    BRUTE_FORCE = "brute_force"
    PRIVILEGE_ESCALATION = "privilege_escalation"
    DATA_EXFILTRATION = "data_exfiltration"
    MALWARE_DETECTION = "malware_detection"
    SUSPICIOUS_LOGIN = "suspicious_login"
    INSIDER_THREAT = "insider_threat"
    PHISHING_ATTEMPT = "phishing_attempt"
    SQL_INJECTION = "sql_injection"
    XSS_ATTACK = "xss_attack"
    DDOS_ATTACK = "ddos_attack"


class ComplianceStandard(enum.Enum):
    """Names and values are alike."""

    SOX = "SOX"
    HIPAA = "HIPAA"
    GDPR = "GDPR"
    ISO27001 = "ISO27001"
    PCI_DSS = "PCI_DSS"
    NIST = "NIST"
    CCPA = "CCPA"


class ComplianceStatus(enum.Enum):
    """Stored by member name, as SQLAlchemy does unless told otherwise."""

    COMPLIANT = "compliant"
    NON_COMPLIANT = "non_compliant"
    PARTIAL_COMPLIANT = "partial_compliant"
    UNDER_REVIEW = "under_review"
    EXEMPT = "exempt"


class ModelProvider(enum.Enum):
    """Stored by value: the models pass values_callable."""

    OLLAMA = "ollama"
    OPENAI = "openai"
    ANTHROPIC = "anthropic"
    GOOGLE = "google"
    HUGGINGFACE = "huggingface"


class TaskDelegationStatus(enum.Enum):
    """Stored by value: the models pass values_callable."""

    PENDING = "pending"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TIMEOUT = "timeout"


class ConversationPhase(enum.Enum):
    """Stored by value: the models pass values_callable."""

    INITIALIZATION = "initialization"
    INGESTION = "ingestion"
    PLANNING = "planning"
    DELEGATION = "delegation"
    PROCESSING = "processing"
    SYNTHESIS = "synthesis"
    REVIEW = "review"
    COMPLETION = "completion"


def values_of(members: type[enum.Enum]) -> list[str]:
    return [member.value for member in members]


class User(Base):
    """Only what must be given; everything else is left to the server's defaults."""

    __tablename__ = "users"

    id = mapped_column(Integer, primary_key=True)
    username = mapped_column(String(255), unique=True, index=True, nullable=False)
    email = mapped_column(String, unique=True, index=True, nullable=False)
    hashed_password = mapped_column(String, nullable=False)


class UserSecurityTier(Base):
    __tablename__ = "user_security_tiers"

    id = mapped_column(UUID(as_uuid=True), primary_key=True, server_default=text("gen_random_uuid()"))
    user_id = mapped_column(Integer, ForeignKey("users.id"), nullable=False)
    current_tier = mapped_column(Enum(SecurityTier, name="securitytier"), default=SecurityTier.STANDARD, nullable=False)
    requested_tier = mapped_column(Enum(SecurityTier, name="securitytier"))
    upgrade_in_progress = mapped_column(Boolean, default=False, nullable=False)
    upgrade_started_at = mapped_column(DateTime(timezone=True))
    upgrade_completed_at = mapped_column(DateTime(timezone=True))
    security_config = mapped_column(JSONB, default=dict, nullable=False)
    tier_features = mapped_column(ARRAY(String), default=list, nullable=False)
    minimum_required_tier = mapped_column(Enum(SecurityTier, name="securitytier"))
    admin_enforced = mapped_column(Boolean, default=False, nullable=False)
    compliance_notes = mapped_column(Text)
    created_at = mapped_column(DateTime(timezone=True), server_default=func.now(), nullable=False)
    updated_at = mapped_column(DateTime(timezone=True), server_default=func.now(), onupdate=func.now(), nullable=False)


class EnterpriseAuditEvent(Base):
    __tablename__ = "enterprise_audit_events"
    __table_args__ = {"schema": "audit"}

    id = mapped_column(UUID(as_uuid=True), primary_key=True, server_default=text("gen_random_uuid()"))
    event_id = mapped_column(String(64), nullable=False)
    event_type = mapped_column(String(100), nullable=False)
    event_category = mapped_column(Enum(AuditEventCategory, name="auditeventcategory"), nullable=False)
    event_severity = mapped_column(Enum(AuditEventSeverity, name="auditeventseverity"), nullable=False)
    event_timestamp = mapped_column(DateTime(timezone=True), nullable=False)
    processing_timestamp = mapped_column(DateTime(timezone=True), server_default=func.now(), nullable=False)
    user_id = mapped_column(Integer, ForeignKey("users.id"))
    session_id = mapped_column(String(255))
    service_name = mapped_column(String(100), nullable=False)
    component_name = mapped_column(String(100))
    source_ip = mapped_column(INET)
    user_agent = mapped_column(Text)
    request_id = mapped_column(String(100))
    event_description = mapped_column(Text, nullable=False)
    event_outcome = mapped_column(String(20), nullable=False)
    affected_resources = mapped_column(ARRAY(String))
    data_classification = mapped_column(String(20))
    event_context = mapped_column(JSONB, default=dict, nullable=False)
    request_parameters = mapped_column(JSONB)
    response_data = mapped_column(JSONB)
    compliance_relevant = mapped_column(Boolean, default=False, nullable=False)
    compliance_standards = mapped_column(ARRAY(String))
    retention_until = mapped_column(DateTime(timezone=True))
    response_time_ms = mapped_column(Integer)
    data_volume_bytes = mapped_column(BigInteger)
    risk_score = mapped_column(Float)
    risk_factors = mapped_column(ARRAY(String))
    hash_value = mapped_column(String(128))
    previous_event_id = mapped_column(String(64))
    digital_signature = mapped_column(Text)


class ThreatIntelligenceEvent(Base):
    __tablename__ = "threat_intelligence_events"
    __table_args__ = {"schema": "audit"}

    id = mapped_column(UUID(as_uuid=True), primary_key=True, server_default=text("gen_random_uuid()"))
    threat_id = mapped_column(String(64), nullable=False)
    threat_type = mapped_column(Enum(ThreatType, name="threattype"), nullable=False)
    threat_name = mapped_column(String(200), nullable=False)
    threat_description = mapped_column(Text, nullable=False)
    severity = mapped_column(Enum(AuditEventSeverity, name="auditeventseverity"), nullable=False)
    confidence_score = mapped_column(Float, default=0.0, nullable=False)
    false_positive_probability = mapped_column(Float, default=0.0, nullable=False)
    detected_at = mapped_column(DateTime(timezone=True), nullable=False)
    detection_method = mapped_column(String(100), nullable=False)
    detection_rule = mapped_column(String(200))
    source_ip = mapped_column(INET)
    source_country = mapped_column(String(2))
    source_asn = mapped_column(Integer)
    user_id = mapped_column(Integer, ForeignKey("users.id"))
    attack_vector = mapped_column(String(100))
    target_resource = mapped_column(String(200))
    attack_payload = mapped_column(Text)
    indicators_of_compromise = mapped_column(ARRAY(String), default=list, nullable=False)
    threat_actor = mapped_column(String(100))
    campaign_id = mapped_column(String(100))
    status = mapped_column(String(20), default="DETECTED", nullable=False)
    response_actions = mapped_column(ARRAY(String), default=list, nullable=False)
    mitigation_steps = mapped_column(Text)
    first_seen = mapped_column(DateTime(timezone=True))
    last_seen = mapped_column(DateTime(timezone=True))
    resolved_at = mapped_column(DateTime(timezone=True))
    affected_systems = mapped_column(ARRAY(String), default=list, nullable=False)
    data_compromised = mapped_column(Boolean, default=False, nullable=False)
    business_impact = mapped_column(String(20))
    threat_context = mapped_column(JSONB, default=dict, nullable=False)
    external_references = mapped_column(ARRAY(String))


class ComplianceAssessment(Base):
    __tablename__ = "compliance_assessments"

    id = mapped_column(UUID(as_uuid=True), primary_key=True, server_default=text("gen_random_uuid()"))
    assessment_id = mapped_column(String(64), nullable=False)
    compliance_standard = mapped_column(Enum(ComplianceStandard, name="compliancestandard"), nullable=False)
    assessment_date = mapped_column(DateTime(timezone=True), nullable=False)
    scope_description = mapped_column(Text, nullable=False)
    assessed_systems = mapped_column(ARRAY(String), nullable=False)
    assessed_processes = mapped_column(ARRAY(String), nullable=False)
    overall_status = mapped_column(Enum(ComplianceStatus, name="compliancestatus"), nullable=False)
    overall_score = mapped_column(Float, default=0.0, nullable=False)
    total_controls = mapped_column(Integer, default=0, nullable=False)
    passed_controls = mapped_column(Integer, default=0, nullable=False)
    failed_controls = mapped_column(Integer, default=0, nullable=False)
    not_applicable_controls = mapped_column(Integer, default=0, nullable=False)
    control_results = mapped_column(JSONB, default=dict, nullable=False)
    identified_gaps = mapped_column(ARRAY(String), default=list, nullable=False)
    remediation_recommendations = mapped_column(JSONB, default=dict, nullable=False)
    compliance_risk_score = mapped_column(Float, default=0.0, nullable=False)
    risk_factors = mapped_column(ARRAY(String), default=list, nullable=False)
    assessor_id = mapped_column(Integer, ForeignKey("users.id"))
    assessment_method = mapped_column(String(50), default="AUTOMATED", nullable=False)
    evidence_collected = mapped_column(JSONB, default=dict, nullable=False)
    assessment_duration_minutes = mapped_column(Integer)
    assessed_at = mapped_column(DateTime(timezone=True), server_default=func.now(), nullable=False)
    next_assessment_due = mapped_column(DateTime(timezone=True))
    approved_by = mapped_column(Integer, ForeignKey("users.id"))
    approved_at = mapped_column(DateTime(timezone=True))


class ForensicInvestigation(Base):
    __tablename__ = "forensic_investigations"

    id = mapped_column(UUID(as_uuid=True), primary_key=True, server_default=text("gen_random_uuid()"))
    case_id = mapped_column(String(64), nullable=False)
    case_name = mapped_column(String(200), nullable=False)
    case_description = mapped_column(Text, nullable=False)
    case_type = mapped_column(String(50), nullable=False)
    priority = mapped_column(String(20), default="MEDIUM", nullable=False)
    incident_date = mapped_column(DateTime(timezone=True), nullable=False)
    discovery_date = mapped_column(DateTime(timezone=True), nullable=False)
    reported_by = mapped_column(Integer, ForeignKey("users.id"))
    primary_investigator_id = mapped_column(Integer, ForeignKey("users.id"), nullable=False)
    investigation_team = mapped_column(ARRAY(Integer), default=list, nullable=False)
    affected_systems = mapped_column(ARRAY(String), default=list, nullable=False)
    affected_users = mapped_column(ARRAY(Integer), default=list, nullable=False)
    estimated_impact = mapped_column(String(20))
    status = mapped_column(String(20), default="INITIATED", nullable=False)
    created_at = mapped_column(DateTime(timezone=True), server_default=func.now(), nullable=False)
    investigation_started = mapped_column(DateTime(timezone=True))
    investigation_completed = mapped_column(DateTime(timezone=True))
    evidence_items = mapped_column(JSONB, default=dict, nullable=False)
    key_findings = mapped_column(ARRAY(String), default=list, nullable=False)
    investigation_notes = mapped_column(Text)
    legal_hold = mapped_column(Boolean, default=False, nullable=False)
    law_enforcement_notified = mapped_column(Boolean, default=False, nullable=False)
    regulatory_reporting_required = mapped_column(Boolean, default=False, nullable=False)
    custody_chain = mapped_column(JSONB, default=list, nullable=False)
    evidence_hash = mapped_column(String(128))
    final_report = mapped_column(Text)
    recommendations = mapped_column(ARRAY(String), default=list, nullable=False)


class AgentConfiguration(Base):
    __tablename__ = "agent_configurations"

    id = mapped_column(UUID(as_uuid=True), primary_key=True, default=uuid.uuid4)
    agent_id = mapped_column(String(50), nullable=False)
    agent_type = mapped_column(String(50), nullable=False)
    agent_role = mapped_column(String(100), nullable=False)
    user_id = mapped_column(Integer, ForeignKey("users.id"))
    assigned_llm = mapped_column(String(100), nullable=False)
    model_provider = mapped_column(Enum(ModelProvider, name="modelprovider", values_callable=values_of), nullable=False)
    model_version = mapped_column(String(50))
    gpu_assignment = mapped_column(Integer)
    allocated_memory_mb = mapped_column(Integer)
    max_concurrent_requests = mapped_column(Integer, default=1, nullable=False)
    system_prompt = mapped_column(Text)
    temperature = mapped_column(Float, default=0.7, nullable=False)
    max_tokens = mapped_column(Integer)
    constraints = mapped_column(JSONB, default=dict, nullable=False)
    capabilities = mapped_column(JSONB, default=list, nullable=False)
    specializations = mapped_column(JSONB, default=list, nullable=False)
    timeout_seconds = mapped_column(Integer, default=300, nullable=False)
    retry_attempts = mapped_column(Integer, default=3, nullable=False)
    priority_level = mapped_column(Integer, default=1, nullable=False)
    is_active = mapped_column(Boolean, default=True, nullable=False)
    is_global_default = mapped_column(Boolean, default=False, nullable=False)
    version = mapped_column(Integer, default=1, nullable=False)
    created_at = mapped_column(DateTime(timezone=True), server_default=func.now(), nullable=False)
    updated_at = mapped_column(DateTime(timezone=True), server_default=func.now(), onupdate=func.now(), nullable=False)


class GpuResource(Base):
    __tablename__ = "gpu_resources"

    id = mapped_column(Integer, primary_key=True)
    gpu_name = mapped_column(String(100), nullable=False)
    gpu_model = mapped_column(String(100), nullable=False)
    total_memory_mb = mapped_column(Integer, nullable=False)
    compute_capability = mapped_column(String(20), nullable=False)
    cuda_cores = mapped_column(Integer)
    base_clock_mhz = mapped_column(Integer)
    boost_clock_mhz = mapped_column(Integer)
    memory_bandwidth_gbps = mapped_column(Float)
    power_limit_watts = mapped_column(Integer)
    is_available = mapped_column(Boolean, default=True, nullable=False)
    maintenance_mode = mapped_column(Boolean, default=False, nullable=False)
    max_concurrent_agents = mapped_column(Integer, default=3, nullable=False)
    reserved_memory_mb = mapped_column(Integer, default=1024, nullable=False)
    current_utilization_percent = mapped_column(Float, default=0.0, nullable=False)
    current_memory_used_mb = mapped_column(Integer, default=0, nullable=False)
    current_temperature_c = mapped_column(Float)
    current_power_usage_watts = mapped_column(Float)
    average_utilization_24h = mapped_column(Float)
    peak_utilization_24h = mapped_column(Float)
    uptime_hours = mapped_column(Float)
    last_updated_at = mapped_column(DateTime(timezone=True), server_default=func.now(), onupdate=func.now(), nullable=False)
    created_at = mapped_column(DateTime(timezone=True), server_default=func.now(), nullable=False)


class TaskDelegation(Base):
    __tablename__ = "task_delegations"

    id = mapped_column(UUID(as_uuid=True), primary_key=True, default=uuid.uuid4)
    session_id = mapped_column(String, nullable=False)
    user_id = mapped_column(Integer, ForeignKey("users.id"), nullable=False)
    conversation_id = mapped_column(String)
    pm_agent_id = mapped_column(String(50), nullable=False)
    target_agent_id = mapped_column(String(50), nullable=False)
    agent_role = mapped_column(String(100), nullable=False)
    task_description = mapped_column(Text, nullable=False)
    delegation_directive = mapped_column(Text, nullable=False)
    task_type = mapped_column(String(50), nullable=False)
    priority_level = mapped_column(Integer, default=1, nullable=False)
    context_data = mapped_column(JSONB, default=dict, nullable=False)
    requirements = mapped_column(JSONB, default=list, nullable=False)
    constraints = mapped_column(JSONB, default=dict, nullable=False)
    expected_deliverables = mapped_column(JSONB, default=list, nullable=False)
    status = mapped_column(Enum(TaskDelegationStatus, name="taskdelegationstatus", values_callable=values_of), default=TaskDelegationStatus.PENDING, nullable=False)
    progress_percentage = mapped_column(Integer, default=0, nullable=False)
    estimated_duration_minutes = mapped_column(Integer)
    actual_duration_minutes = mapped_column(Integer)
    deadline = mapped_column(DateTime(timezone=True))
    blackboard_event_id = mapped_column(UUID(as_uuid=True))
    consensus_node_id = mapped_column(UUID(as_uuid=True))
    created_at = mapped_column(DateTime(timezone=True), server_default=func.now(), nullable=False)
    assigned_at = mapped_column(DateTime(timezone=True))
    started_at = mapped_column(DateTime(timezone=True))
    completed_at = mapped_column(DateTime(timezone=True))
    updated_at = mapped_column(DateTime(timezone=True), server_default=func.now(), onupdate=func.now(), nullable=False)


class MultiAgentConversation(Base):
    __tablename__ = "multi_agent_conversations"

    id = mapped_column(UUID(as_uuid=True), primary_key=True, default=uuid.uuid4)
    session_id = mapped_column(String, nullable=False)
    user_id = mapped_column(Integer, ForeignKey("users.id"), nullable=False)
    conversation_id = mapped_column(String)
    conversation_title = mapped_column(String(200), nullable=False)
    conversation_description = mapped_column(Text)
    conversation_type = mapped_column(String(50), nullable=False)
    domain = mapped_column(String(100))
    current_phase = mapped_column(Enum(ConversationPhase, name="conversationphase", values_callable=values_of), default=ConversationPhase.INITIALIZATION, nullable=False)
    is_active = mapped_column(Boolean, default=True, nullable=False)
    participating_agents = mapped_column(JSONB, default=list, nullable=False)
    coordinator_agent_id = mapped_column(String(50), nullable=False)
    total_agents = mapped_column(Integer, default=0, nullable=False)
    active_agents = mapped_column(Integer, default=0, nullable=False)
    total_tasks_delegated = mapped_column(Integer, default=0, nullable=False)
    tasks_completed = mapped_column(Integer, default=0, nullable=False)
    total_agent_responses = mapped_column(Integer, default=0, nullable=False)
    synthesis_count = mapped_column(Integer, default=0, nullable=False)
    total_processing_time_seconds = mapped_column(Float, default=0.0, nullable=False)
    average_response_time_seconds = mapped_column(Float)
    total_tokens_used = mapped_column(Integer)
    overall_satisfaction_score = mapped_column(Float)
    completion_status = mapped_column(String(20), default="in_progress", nullable=False)
    final_outcome = mapped_column(Text)
    started_at = mapped_column(DateTime(timezone=True), server_default=func.now(), nullable=False)
    last_activity_at = mapped_column(DateTime(timezone=True), server_default=func.now(), onupdate=func.now(), nullable=False)
    completed_at = mapped_column(DateTime(timezone=True))


RENAMED = [
    UserSecurityTier,
    EnterpriseAuditEvent,
    ThreatIntelligenceEvent,
    ComplianceAssessment,
    ForensicInvestigation,
    AgentConfiguration,
    GpuResource,
    TaskDelegation,
    MultiAgentConversation,
]
