//! What the vendor's pages say of each family and version of device: a table, and no more than the table.

/// A family of devices at one version of its API.
#[derive(Clone, Copy, Debug)]
pub struct Family {
    pub api: &'static str,
    pub version: &'static str,
    /// All calls but `/api/info` stand under `/api/` and this.
    pub prefix: &'static str,
    /// What a time profile is called in paths.
    pub paths: &'static str,
    /// The key of a list, in requests and in answers.
    pub items: &'static str,
    /// The key of a profile's number.
    pub uid: &'static str,
    pub lists: Lists,
    /// Many can be deleted by `DELETE …/items/link`.
    pub deletes_by_delete: bool,
    /// Many can be deleted by `POST …/link/delete`.
    pub deletes_by_post: bool,
    /// The field of a result that says whether another profile has this name.
    pub same_name: Option<&'static str>,
    /// The word for a link_id that a batch names twice.
    pub named_twice: Option<&'static str>,
    /// The word for rules that can never open.
    pub never_opens: Option<&'static str>,
    /// The word for one more than there is room for.
    pub full: &'static str,
    /// What is wrong with a body's fields is told.
    pub names_fields: bool,
    pub tells_time: bool,
    pub token: Token,
    /// The status for a wrong name or password.
    pub wrong_login: u16,
    /// Errors are objects, logins are sent as JSON, years carry a format, dates may be left out.
    pub is_door_controller: bool,
}

/// How lists are asked for and answered.
#[derive(Clone, Copy, Debug)]
pub struct Lists {
    /// The parameter of the page's number.
    pub page: &'static str,
    pub limit: Limit,
    /// Both parameters must be there.
    pub required: bool,
    pub sort: Sort,
    /// What stands beside the items.
    pub options: Options,
    /// `/items/list` is there as well.
    pub older_path: bool,
}

#[derive(Clone, Copy, Debug)]
pub enum Limit {
    /// 10, 20, 30 or 50.
    Steps,
    Any,
    UpTo(u64),
}

#[derive(Clone, Copy, Debug)]
pub enum Sort {
    /// A parameter for the field, and one for `asc` or `desc`.
    Two(&'static str, &'static str),
    /// `order_by=name desc, date_from`
    OrderBy,
    None,
}

#[derive(Clone, Copy, Debug)]
pub enum Options {
    /// `list_option` with a plain filter and sort.
    Plain,
    /// `list_option` that says by what can be filtered and sorted.
    Described,
    /// `options` with the pagination alone.
    PaginationOnly,
}

#[derive(Clone, Copy, Debug)]
pub enum Token {
    Alphanumeric,
    Uuid,
}

const ANDROID: Family = Family {
    api: "android",
    version: "2.9.0",
    prefix: "v1",
    paths: "timeprofile",
    items: "list_items",
    uid: "time_profile_uid",
    lists: Lists {
        page: "page_number",
        limit: Limit::Steps,
        required: false,
        sort: Sort::Two("sort_field", "sort_type"),
        options: Options::Plain,
        older_path: false,
    },
    deletes_by_delete: true,
    deletes_by_post: true,
    same_name: None,
    named_twice: Some("has_dublicates"),
    never_opens: Some("invalid_time_rules_settings"),
    full: "number_of_identifiers_exceeded",
    names_fields: true,
    tells_time: true,
    token: Token::Alphanumeric,
    wrong_login: 400,
    is_door_controller: false,
};

const CAMDROID: Family = Family {
    api: "camdroid",
    version: "1.3.5",
    lists: Lists { required: true, sort: Sort::OrderBy, options: Options::Described, ..ANDROID.lists },
    deletes_by_post: false,
    named_twice: None,
    never_opens: None,
    names_fields: false,
    token: Token::Uuid,
    ..ANDROID
};

pub const ANDROID_1_5: Family = Family {
    version: "1.5.0",
    prefix: "v0",
    lists: Lists { older_path: true, ..ANDROID.lists },
    never_opens: None,
    ..ANDROID
};

pub const ANDROID_2_9: Family = ANDROID;

pub const ANDROID_2_12: Family = Family { version: "2.12.0", same_name: Some("has_dublicates"), ..ANDROID };

/// Neither time nor deletes by `DELETE`, as identifiers of that version have none.
pub const CAMDROID_0_6: Family = Family {
    version: "0.6.0",
    prefix: "v0",
    lists: Lists {
        page: "pageNumber",
        sort: Sort::Two("sortField", "sortType"),
        options: Options::Plain,
        required: false,
        older_path: true,
        ..CAMDROID.lists
    },
    deletes_by_delete: false,
    deletes_by_post: true,
    tells_time: false,
    ..CAMDROID
};

pub const CAMDROID_1_3: Family = CAMDROID;

pub const INGENIC_MIPS: Family = Family {
    api: "ingenic-mips",
    version: "1.2.0",
    lists: Lists { limit: Limit::Any, ..CAMDROID.lists },
    ..CAMDROID
};

pub const DOOR_CONTROLLER: Family = Family {
    api: "door-controller",
    version: "1.4.0",
    paths: "time-profiles",
    items: "items",
    uid: "id",
    lists: Lists {
        limit: Limit::UpTo(1000),
        sort: Sort::None,
        options: Options::PaginationOnly,
        ..ANDROID.lists
    },
    same_name: Some("has_duplicates"),
    named_twice: Some("has_duplicates"),
    full: "number_of_entities_exceeded",
    wrong_login: 401,
    is_door_controller: true,
    ..ANDROID
};

pub const ALL: [Family; 7] =
    [ANDROID_1_5, ANDROID_2_9, ANDROID_2_12, CAMDROID_0_6, CAMDROID_1_3, INGENIC_MIPS, DOOR_CONTROLLER];
