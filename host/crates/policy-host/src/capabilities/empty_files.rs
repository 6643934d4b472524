//! A file system without any directory in it: nothing in it can be opened, so no
//! descriptor ever exists. These methods are there to be linked and cannot be called
//! with a handle that means anything.

use super::bindings::wasi::filesystem::types as files;
use super::bindings::wasi::io::streams::{InputStream, OutputStream};
use super::virtual_wasi::VirtualWasi;
use files::{
    Descriptor, DescriptorStat, DirectoryEntry, DirectoryEntryStream, ErrorCode, MetadataHashValue,
    NewTimestamp, PathFlags,
};
use wasmtime::component::Resource;

type Answer<T> = wasmtime::Result<Result<T, ErrorCode>>;

fn no_such<T>() -> Answer<T> {
    Ok(Err(ErrorCode::BadDescriptor))
}

impl files::HostDescriptor for VirtualWasi {
    fn read_via_stream(
        &mut self,
        _this: Resource<Descriptor>,
        _offset: u64,
    ) -> Answer<Resource<InputStream>> {
        no_such()
    }

    fn write_via_stream(
        &mut self,
        _this: Resource<Descriptor>,
        _offset: u64,
    ) -> Answer<Resource<OutputStream>> {
        no_such()
    }

    fn append_via_stream(&mut self, _this: Resource<Descriptor>) -> Answer<Resource<OutputStream>> {
        no_such()
    }

    fn advise(
        &mut self,
        _this: Resource<Descriptor>,
        _offset: u64,
        _length: u64,
        _advice: files::Advice,
    ) -> Answer<()> {
        no_such()
    }

    fn sync_data(&mut self, _this: Resource<Descriptor>) -> Answer<()> {
        no_such()
    }

    fn get_flags(&mut self, _this: Resource<Descriptor>) -> Answer<files::DescriptorFlags> {
        no_such()
    }

    fn get_type(&mut self, _this: Resource<Descriptor>) -> Answer<files::DescriptorType> {
        no_such()
    }

    fn set_size(&mut self, _this: Resource<Descriptor>, _size: u64) -> Answer<()> {
        no_such()
    }

    fn set_times(
        &mut self,
        _this: Resource<Descriptor>,
        _access: NewTimestamp,
        _modification: NewTimestamp,
    ) -> Answer<()> {
        no_such()
    }

    fn read(
        &mut self,
        _this: Resource<Descriptor>,
        _length: u64,
        _offset: u64,
    ) -> Answer<(Vec<u8>, bool)> {
        no_such()
    }

    fn write(
        &mut self,
        _this: Resource<Descriptor>,
        _buffer: Vec<u8>,
        _offset: u64,
    ) -> Answer<u64> {
        no_such()
    }

    fn read_directory(
        &mut self,
        _this: Resource<Descriptor>,
    ) -> Answer<Resource<DirectoryEntryStream>> {
        no_such()
    }

    fn sync(&mut self, _this: Resource<Descriptor>) -> Answer<()> {
        no_such()
    }

    fn create_directory_at(&mut self, _this: Resource<Descriptor>, _path: String) -> Answer<()> {
        no_such()
    }

    fn stat(&mut self, _this: Resource<Descriptor>) -> Answer<DescriptorStat> {
        no_such()
    }

    fn stat_at(
        &mut self,
        _this: Resource<Descriptor>,
        _flags: PathFlags,
        _path: String,
    ) -> Answer<DescriptorStat> {
        no_such()
    }

    fn set_times_at(
        &mut self,
        _this: Resource<Descriptor>,
        _flags: PathFlags,
        _path: String,
        _access: NewTimestamp,
        _modification: NewTimestamp,
    ) -> Answer<()> {
        no_such()
    }

    fn link_at(
        &mut self,
        _this: Resource<Descriptor>,
        _flags: PathFlags,
        _old: String,
        _other: Resource<Descriptor>,
        _new: String,
    ) -> Answer<()> {
        no_such()
    }

    fn open_at(
        &mut self,
        _this: Resource<Descriptor>,
        _flags: PathFlags,
        _path: String,
        _how: files::OpenFlags,
        _rights: files::DescriptorFlags,
    ) -> Answer<Resource<Descriptor>> {
        no_such()
    }

    fn readlink_at(&mut self, _this: Resource<Descriptor>, _path: String) -> Answer<String> {
        no_such()
    }

    fn remove_directory_at(&mut self, _this: Resource<Descriptor>, _path: String) -> Answer<()> {
        no_such()
    }

    fn rename_at(
        &mut self,
        _this: Resource<Descriptor>,
        _old: String,
        _other: Resource<Descriptor>,
        _new: String,
    ) -> Answer<()> {
        no_such()
    }

    fn symlink_at(
        &mut self,
        _this: Resource<Descriptor>,
        _old: String,
        _new: String,
    ) -> Answer<()> {
        no_such()
    }

    fn unlink_file_at(&mut self, _this: Resource<Descriptor>, _path: String) -> Answer<()> {
        no_such()
    }

    fn metadata_hash(&mut self, _this: Resource<Descriptor>) -> Answer<MetadataHashValue> {
        no_such()
    }

    fn metadata_hash_at(
        &mut self,
        _this: Resource<Descriptor>,
        _flags: PathFlags,
        _path: String,
    ) -> Answer<MetadataHashValue> {
        no_such()
    }

    fn is_same_object(
        &mut self,
        _this: Resource<Descriptor>,
        _other: Resource<Descriptor>,
    ) -> wasmtime::Result<bool> {
        Ok(false)
    }

    fn drop(&mut self, _this: Resource<Descriptor>) -> wasmtime::Result<()> {
        Ok(())
    }
}

impl files::HostDirectoryEntryStream for VirtualWasi {
    fn read_directory_entry(
        &mut self,
        _this: Resource<DirectoryEntryStream>,
    ) -> Answer<Option<DirectoryEntry>> {
        no_such()
    }

    fn drop(&mut self, _this: Resource<DirectoryEntryStream>) -> wasmtime::Result<()> {
        Ok(())
    }
}
