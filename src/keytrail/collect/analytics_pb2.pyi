import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class GraphQLOperations(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    OPERATION_UNKNOWN: _ClassVar[GraphQLOperations]
    OPERATION_QUERY: _ClassVar[GraphQLOperations]
    OPERATION_MUTATION: _ClassVar[GraphQLOperations]
    OPERATION_SUBSCRIPTION: _ClassVar[GraphQLOperations]
OPERATION_UNKNOWN: GraphQLOperations
OPERATION_QUERY: GraphQLOperations
OPERATION_MUTATION: GraphQLOperations
OPERATION_SUBSCRIPTION: GraphQLOperations

class AnalyticsRecord(_message.Message):
    __slots__ = ("Host", "Method", "Path", "RawPath", "ContentLength", "UserAgent", "ResponseCode", "APIKey", "TimeStamp", "APIVersion", "APIName", "APIID", "OrgID", "RequestTime", "Latency", "RawRequest", "RawResponse", "IPAddress", "Geo", "Network", "Tags", "Alias", "TrackPath", "ExpireAt", "OauthID", "TimeZone", "ApiSchema", "GraphQLStats", "MCPStats", "OriginalPath", "ListenPath")
    HOST_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    RAWPATH_FIELD_NUMBER: _ClassVar[int]
    CONTENTLENGTH_FIELD_NUMBER: _ClassVar[int]
    USERAGENT_FIELD_NUMBER: _ClassVar[int]
    RESPONSECODE_FIELD_NUMBER: _ClassVar[int]
    APIKEY_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    APIVERSION_FIELD_NUMBER: _ClassVar[int]
    APINAME_FIELD_NUMBER: _ClassVar[int]
    APIID_FIELD_NUMBER: _ClassVar[int]
    ORGID_FIELD_NUMBER: _ClassVar[int]
    REQUESTTIME_FIELD_NUMBER: _ClassVar[int]
    LATENCY_FIELD_NUMBER: _ClassVar[int]
    RAWREQUEST_FIELD_NUMBER: _ClassVar[int]
    RAWRESPONSE_FIELD_NUMBER: _ClassVar[int]
    IPADDRESS_FIELD_NUMBER: _ClassVar[int]
    GEO_FIELD_NUMBER: _ClassVar[int]
    NETWORK_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    ALIAS_FIELD_NUMBER: _ClassVar[int]
    TRACKPATH_FIELD_NUMBER: _ClassVar[int]
    EXPIREAT_FIELD_NUMBER: _ClassVar[int]
    OAUTHID_FIELD_NUMBER: _ClassVar[int]
    TIMEZONE_FIELD_NUMBER: _ClassVar[int]
    APISCHEMA_FIELD_NUMBER: _ClassVar[int]
    GRAPHQLSTATS_FIELD_NUMBER: _ClassVar[int]
    MCPSTATS_FIELD_NUMBER: _ClassVar[int]
    ORIGINALPATH_FIELD_NUMBER: _ClassVar[int]
    LISTENPATH_FIELD_NUMBER: _ClassVar[int]
    Host: bytes
    Method: bytes
    Path: bytes
    RawPath: bytes
    ContentLength: int
    UserAgent: bytes
    ResponseCode: int
    APIKey: bytes
    TimeStamp: _timestamp_pb2.Timestamp
    APIVersion: bytes
    APIName: bytes
    APIID: bytes
    OrgID: bytes
    RequestTime: int
    Latency: Latency
    RawRequest: bytes
    RawResponse: bytes
    IPAddress: bytes
    Geo: GeoData
    Network: NetworkStats
    Tags: _containers.RepeatedScalarFieldContainer[bytes]
    Alias: bytes
    TrackPath: bool
    ExpireAt: _timestamp_pb2.Timestamp
    OauthID: bytes
    TimeZone: bytes
    ApiSchema: bytes
    GraphQLStats: GraphQLStats
    MCPStats: MCPStats
    OriginalPath: bytes
    ListenPath: bytes
    def __init__(self, Host: _Optional[bytes] = ..., Method: _Optional[bytes] = ..., Path: _Optional[bytes] = ..., RawPath: _Optional[bytes] = ..., ContentLength: _Optional[int] = ..., UserAgent: _Optional[bytes] = ..., ResponseCode: _Optional[int] = ..., APIKey: _Optional[bytes] = ..., TimeStamp: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., APIVersion: _Optional[bytes] = ..., APIName: _Optional[bytes] = ..., APIID: _Optional[bytes] = ..., OrgID: _Optional[bytes] = ..., RequestTime: _Optional[int] = ..., Latency: _Optional[_Union[Latency, _Mapping]] = ..., RawRequest: _Optional[bytes] = ..., RawResponse: _Optional[bytes] = ..., IPAddress: _Optional[bytes] = ..., Geo: _Optional[_Union[GeoData, _Mapping]] = ..., Network: _Optional[_Union[NetworkStats, _Mapping]] = ..., Tags: _Optional[_Iterable[bytes]] = ..., Alias: _Optional[bytes] = ..., TrackPath: _Optional[bool] = ..., ExpireAt: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., OauthID: _Optional[bytes] = ..., TimeZone: _Optional[bytes] = ..., ApiSchema: _Optional[bytes] = ..., GraphQLStats: _Optional[_Union[GraphQLStats, _Mapping]] = ..., MCPStats: _Optional[_Union[MCPStats, _Mapping]] = ..., OriginalPath: _Optional[bytes] = ..., ListenPath: _Optional[bytes] = ...) -> None: ...

class Latency(_message.Message):
    __slots__ = ("Total", "Upstream")
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    UPSTREAM_FIELD_NUMBER: _ClassVar[int]
    Total: int
    Upstream: int
    def __init__(self, Total: _Optional[int] = ..., Upstream: _Optional[int] = ...) -> None: ...

class GeoData(_message.Message):
    __slots__ = ("Country", "City", "Location")
    COUNTRY_FIELD_NUMBER: _ClassVar[int]
    CITY_FIELD_NUMBER: _ClassVar[int]
    LOCATION_FIELD_NUMBER: _ClassVar[int]
    Country: Country
    City: City
    Location: Location
    def __init__(self, Country: _Optional[_Union[Country, _Mapping]] = ..., City: _Optional[_Union[City, _Mapping]] = ..., Location: _Optional[_Union[Location, _Mapping]] = ...) -> None: ...

class Country(_message.Message):
    __slots__ = ("ISOCode",)
    ISOCODE_FIELD_NUMBER: _ClassVar[int]
    ISOCode: bytes
    def __init__(self, ISOCode: _Optional[bytes] = ...) -> None: ...

class City(_message.Message):
    __slots__ = ("Names", "GeoNameID")
    NAMES_FIELD_NUMBER: _ClassVar[int]
    GEONAMEID_FIELD_NUMBER: _ClassVar[int]
    Names: _containers.RepeatedCompositeFieldContainer[CityName]
    GeoNameID: int
    def __init__(self, Names: _Optional[_Iterable[_Union[CityName, _Mapping]]] = ..., GeoNameID: _Optional[int] = ...) -> None: ...

class CityName(_message.Message):
    __slots__ = ("key", "value")
    KEY_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    key: bytes
    value: bytes
    def __init__(self, key: _Optional[bytes] = ..., value: _Optional[bytes] = ...) -> None: ...

class Location(_message.Message):
    __slots__ = ("Latitude", "Longitude", "TimeZone")
    LATITUDE_FIELD_NUMBER: _ClassVar[int]
    LONGITUDE_FIELD_NUMBER: _ClassVar[int]
    TIMEZONE_FIELD_NUMBER: _ClassVar[int]
    Latitude: float
    Longitude: float
    TimeZone: bytes
    def __init__(self, Latitude: _Optional[float] = ..., Longitude: _Optional[float] = ..., TimeZone: _Optional[bytes] = ...) -> None: ...

class NetworkStats(_message.Message):
    __slots__ = ("OpenConnections", "ClosedConnections", "BytesIn", "BytesOut")
    OPENCONNECTIONS_FIELD_NUMBER: _ClassVar[int]
    CLOSEDCONNECTIONS_FIELD_NUMBER: _ClassVar[int]
    BYTESIN_FIELD_NUMBER: _ClassVar[int]
    BYTESOUT_FIELD_NUMBER: _ClassVar[int]
    OpenConnections: int
    ClosedConnections: int
    BytesIn: int
    BytesOut: int
    def __init__(self, OpenConnections: _Optional[int] = ..., ClosedConnections: _Optional[int] = ..., BytesIn: _Optional[int] = ..., BytesOut: _Optional[int] = ...) -> None: ...

class GraphQLStats(_message.Message):
    __slots__ = ("IsGraphQL", "Types", "OperationType", "Variables", "RootFields", "HasError", "GraphErrors")
    ISGRAPHQL_FIELD_NUMBER: _ClassVar[int]
    TYPES_FIELD_NUMBER: _ClassVar[int]
    OPERATIONTYPE_FIELD_NUMBER: _ClassVar[int]
    VARIABLES_FIELD_NUMBER: _ClassVar[int]
    ROOTFIELDS_FIELD_NUMBER: _ClassVar[int]
    HASERROR_FIELD_NUMBER: _ClassVar[int]
    GRAPHERRORS_FIELD_NUMBER: _ClassVar[int]
    IsGraphQL: bool
    Types: _containers.RepeatedCompositeFieldContainer[GraphQLType]
    OperationType: GraphQLOperations
    Variables: bytes
    RootFields: _containers.RepeatedScalarFieldContainer[bytes]
    HasError: bool
    GraphErrors: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, IsGraphQL: _Optional[bool] = ..., Types: _Optional[_Iterable[_Union[GraphQLType, _Mapping]]] = ..., OperationType: _Optional[_Union[GraphQLOperations, str]] = ..., Variables: _Optional[bytes] = ..., RootFields: _Optional[_Iterable[bytes]] = ..., HasError: _Optional[bool] = ..., GraphErrors: _Optional[_Iterable[bytes]] = ...) -> None: ...

class GraphQLType(_message.Message):
    __slots__ = ("key", "value")
    KEY_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    key: bytes
    value: RepeatedFields
    def __init__(self, key: _Optional[bytes] = ..., value: _Optional[_Union[RepeatedFields, _Mapping]] = ...) -> None: ...

class RepeatedFields(_message.Message):
    __slots__ = ("fields",)
    FIELDS_FIELD_NUMBER: _ClassVar[int]
    fields: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, fields: _Optional[_Iterable[bytes]] = ...) -> None: ...

class MCPStats(_message.Message):
    __slots__ = ("IsMCP", "JSONRPCMethod", "PrimitiveType", "PrimitiveName")
    ISMCP_FIELD_NUMBER: _ClassVar[int]
    JSONRPCMETHOD_FIELD_NUMBER: _ClassVar[int]
    PRIMITIVETYPE_FIELD_NUMBER: _ClassVar[int]
    PRIMITIVENAME_FIELD_NUMBER: _ClassVar[int]
    IsMCP: bool
    JSONRPCMethod: bytes
    PrimitiveType: bytes
    PrimitiveName: bytes
    def __init__(self, IsMCP: _Optional[bool] = ..., JSONRPCMethod: _Optional[bytes] = ..., PrimitiveType: _Optional[bytes] = ..., PrimitiveName: _Optional[bytes] = ...) -> None: ...
