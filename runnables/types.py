from pydantic import BaseModel


class CustomUserType(BaseModel):
    """
    Inherit from this to let a runnable get the model itself instead of a dict.

        class Upload(CustomUserType):
            file: str = Field(json_schema_extra={"extra": {"widget": {"type": "base64file"}}})
    """
